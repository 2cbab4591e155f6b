"""Many sources named at once: `nas://in/**/*.{mkv,mp4}`.

`*` is any letters of one name, `**` any folders, `?` one letter, `{a,b}` one of some. Brackets are letters: films are
named with them. Capital and small letters differ, as they do in storage.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.core.errors import InvalidJob, Problem
from worker.core.location import MAX_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CHOICES: Final = 100
MAX_STARS: Final = 20
_WILD: Final = re.compile(r"[*?{]")
_PIECE: Final = re.compile(r"\*+|\?|\{([^{}/]*)\}|[^*?{]+|\{")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern: the folder below which everything lies that it means, and the test of what lies there.

    Only the path below the folder is tested, for a folder has several names.
    """

    text: str
    folder: str
    expression: re.Pattern[str]

    def matches(self, path: str) -> bool:
        """Return whether a file is meant; `path` is its path below the folder."""
        return self.expression.fullmatch(path) is not None


def is_pattern(text: str) -> bool:
    """Return whether a text may name many sources; the name of one may look like a pattern."""
    return _WILD.search(text) is not None


def parse_pattern(text: str) -> Pattern:
    """Return the pattern in `text`, a URI or an absolute path; InvalidJob when it is none that can be asked."""
    if len(text) > MAX_LENGTH or text.count("*") > MAX_STARS:
        raise InvalidJob([Problem("source", f"a pattern has at most {MAX_LENGTH} characters and {MAX_STARS} stars")])
    first = _WILD.search(text)
    fixed = text[: first.start()] if first else text
    folder = fixed[: fixed.rfind("/") + 1]
    if not folder or (folder.endswith("://") and folder != "nas://"):
        raise InvalidJob([Problem("source", f"{text[:200]!r}: a pattern begins with a folder: nas://in/**/*.mkv")])
    return Pattern(text, folder, re.compile("".join(_parts(text[len(folder) :])), re.DOTALL))


def _parts(rest: str) -> Iterator[str]:
    """Yield the expression of each folder's name, and of the file's."""
    names = rest.split("/")
    for index, name in enumerate(names):
        last = index == len(names) - 1
        if name == "**":
            # At the end it means every file, in between any number of folders, also none.
            yield ".*" if last else "(?:[^/]+/)*+"
            continue
        for match in _PIECE.finditer(name):
            yield _piece(match)
        yield "" if last else "/"


def _piece(match: re.Match[str]) -> str:
    text = match[0]
    if text[0] == "*":
        return "[^/]*"
    if text == "?":
        return "[^/]"
    if match[1] is None:
        return re.escape(text)
    choices = match[1].split(",")
    if len(choices) > MAX_CHOICES:
        raise InvalidJob([Problem("source", f"{{…}} in a pattern has at most {MAX_CHOICES} choices")])
    return f"(?:{'|'.join(map(re.escape, choices))})"
