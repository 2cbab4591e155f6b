"""Git's history as a log that gource reads: every byte of it is made here.

Gource can run git itself, through a shell, and takes names as they are. Names in a repository are chosen by
strangers, and `|`, a newline or a trailing slash mean something to gource: so the log is read, cleaned and
written by us.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO

from worker.core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# Outside of these seconds (1970 to 9999) gource's calendar fails: it formats every date that it meets.
EARLIEST = 1
LATEST = 253_402_300_799

# More changes than any film shows; each is an object of the worker's own memory.
MAX_CHANGES = 1_000_000

# What is read of the log at once, and what lies between two of its NULs at most: no file system has a longer path.
PIECE_BYTES = 256 << 10
LONGEST_TOKEN = 1 << 20

# Gource's texts are single lines on a screen; longer names would be cut by the frame's edge anyway.
LONGEST_NAME = 200

_HEADER = re.compile(rb"(-?\d*) ([^\n]*)")
_DIGITS = 19
_CHANGE = re.compile(rb"\n?:\d+ \d+ [0-9a-f]+ [0-9a-f]+ ([A-Z])\d*")
_DATE = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})(?: (\d{2}):(\d{2})(?::(\d{2}))?)?(?: ?(Z|[+-]\d{1,2}(?::?\d{2})?))?",
)


class MalformedLog(BadInput):
    """Git's output is not the log that was asked for."""


class Action(StrEnum):
    """The kind of a change to a file, in gource's letters."""

    ADDED = "A"
    MODIFIED = "M"
    DELETED = "D"


@dataclass(frozen=True, slots=True)
class Change:
    """One file of a commit; `path` is cleaned, relative and uses `/`."""

    action: Action
    path: str


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit with its changes; `time` is unix seconds within EARLIEST and LATEST, `author` is cleaned.

    Its files are below `folder`, and have the `colour` of six hexadecimal digits, or that of their type.
    """

    time: int
    author: str
    changes: tuple[Change, ...]
    folder: str = ""
    colour: str = ""


def log_command(git_directory: str, *, mailmap: bool = False) -> tuple[str, ...]:
    """Return the arguments after `git` that write the log of a bare repository, for `read_log`.

    With `mailmap` the authors are those of the repository's `.mailmap`, which must be in the clone: in one without
    blobs it would be a hidden fetch, which fails the command where the network is gone. Ids are written in full
    because git looks into the objects to shorten them; renames are two changes because finding them takes the blobs.
    """
    author = "%aN" if mailmap else "%an"
    return (
        f"--git-dir={git_directory}",
        "-c",
        f"log.mailmap={str(mailmap).lower()}",
        "-c",
        "log.showSignature=false",
        "-c",
        "core.quotepath=off",
        "log",
        "--reverse",
        "--raw",
        "-z",
        "--no-abbrev",
        "--no-renames",
        "--no-color",
        "--no-notes",
        "--no-show-signature",
        "--no-ext-diff",
        "--no-decorate",
        "--diff-merges=off",
        "--encoding=UTF-8",
        f"--pretty=tformat:%ct {author}",
        "HEAD",
        "--",
    )


def read_log(log: BinaryIO, *, most: int = MAX_CHANGES) -> tuple[Commit, ...]:
    """Return the commits that change a file, oldest first; commits of one second keep git's order.

    The log is read a piece at a time: only its commits are in memory.

    A merge has no changes of its own: they came with the commits that it joins. Anything but the output of
    `log_command` raises MalformedLog; more than `most` changes are BadInput.
    """
    commits = (commit for commit in _dated(_commits(log, most)) if commit.changes)
    return tuple(sorted(commits, key=lambda commit: commit.time))


def custom_log(commits: Iterable[Commit]) -> str:
    """Return gource's custom format, a line for each change: `time|author|action|path`, and `|colour` where it is set.

    No commits are no text.
    """
    return "".join(log_lines(commits))


def log_lines(commits: Iterable[Commit]) -> Iterator[str]:
    """Yield the lines of `custom_log`, so that a long log is never in memory as a whole."""
    for commit in commits:
        folder = f"{commit.folder}/" if commit.folder else ""
        colour = f"|{commit.colour}" if commit.colour else ""
        for change in commit.changes:
            yield f"{commit.time}|{commit.author}|{change.action}|{folder}{change.path}{colour}\n"


def cut_dates(
    commits: Sequence[Commit],
    start: datetime | None = None,
    stop: datetime | None = None,
) -> tuple[Commit, ...]:
    """Return the commits from `start` to `stop`, both included, both aware; None leaves that side open."""
    earliest = -math.inf if start is None else start.timestamp()
    latest = math.inf if stop is None else stop.timestamp()
    return tuple(commit for commit in commits if earliest <= commit.time <= latest)


def cut_positions(commits: Sequence[Commit], start: float = 0.0, stop: float = 1.0) -> tuple[Commit, ...]:
    """Return the commits between two positions, which are fractions of the list of commits.

    Of n commits: from number floor(start·n) up to, not including, ceil(stop·n). A fraction of the list and not of
    the calendar, because a year without a commit is skipped by the film as well; and as gource's own positions,
    which are fractions of the log. ValueError unless 0 ≤ start < stop ≤ 1.
    """
    if not 0.0 <= start < stop <= 1.0:
        raise ValueError(f"positions must satisfy 0 <= start < stop <= 1, not {start} and {stop}")
    count = len(commits)
    return tuple(commits[math.floor(start * count) : math.ceil(stop * count)])


def parse_date(text: str) -> datetime:
    """Return the aware date of `YYYY-MM-DD hh:mm:ss +tz`; the time and the zone may be left out.

    Zones are `+h`, `+hh`, `+hhmm`, `+hh:mm` or `Z`; without one it is UTC, since a fleet has no local time. Quotes
    around the text are what is left of somebody's shell: they are dropped. ValueError says what was read.
    """
    bare = text.strip().strip("'\"").strip()
    found = _DATE.fullmatch(bare)
    if found is None:
        raise ValueError(f"not a date of the form YYYY-MM-DD hh:mm:ss +tz: {text[:40]!r}")
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=_zone(found[7]))
    except ValueError as error:
        raise ValueError(f"no such date: {text[:40]!r} ({error})") from error


def _zone(text: str | None) -> timezone:
    """Return the zone of `+hh:mm` in its spellings; UTC for `Z` and None."""
    if text is None or text == "Z":
        return UTC
    digits = text[1:].replace(":", "")
    hours, minutes = (digits[:-2], digits[-2:]) if len(digits) > 2 else (digits, "0")  # noqa: PLR2004 - hh
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if text[0] == "-" else offset)


def _dated(commits: Iterable[tuple[int | None, str, tuple[Change, ...]]]) -> Iterator[Commit]:
    """Yield the commits with a date each: one that git cannot print, or no calendar has, is that of the one before."""
    waiting: list[tuple[str, tuple[Change, ...]]] = []
    last: int | None = None
    for time, author, changes in commits:
        if time is None and last is None:
            waiting.append((author, changes))
            continue
        last = time if time is not None else last or EARLIEST
        for earlier in waiting:
            yield Commit(last, *earlier)
        waiting.clear()
        yield Commit(last, author, changes)
    for earlier in waiting:
        yield Commit(EARLIEST, *earlier)


def _commits(log: BinaryIO, most: int) -> Iterator[tuple[int | None, str, tuple[Change, ...]]]:
    """Yield time, author and changes of every commit in the order of the log.

    With `-z` the log is `header NUL LF meta NUL path NUL meta NUL path NUL header NUL …`, where a meta begins with `:`;
    a commit without changes is its header alone. A path is what follows a meta, whatever it holds, so that no name
    can pose as anything else.
    """
    tokens = _tokens(log)
    header: tuple[int | None, str] | None = None
    changes: list[Change] = []
    left = most
    for token in filter(None, tokens):
        if not token.startswith((b":", b"\n:")):
            if header is not None:
                yield *header, tuple(changes)
            header, changes = _header(token), []
        elif header is None:
            raise MalformedLog("git's log has a change before its first commit")
        elif left:
            left -= 1
            changes.extend(_changes(token, tokens))
        else:
            raise BadInput(f"the history is too large: it has more than {MAX_CHANGES} changes of files")
    if header is not None:
        yield *header, tuple(changes)


def _tokens(log: BinaryIO) -> Iterator[bytes]:
    """Yield what NULs separate, one at a time; BadInput where one is longer than any name."""
    rest = b""
    while piece := log.read(PIECE_BYTES):
        *tokens, rest = (rest + piece).split(b"\0")
        yield from tokens
        if len(rest) > LONGEST_TOKEN:
            raise BadInput(f"the history has a name of more than {LONGEST_TOKEN} bytes")
    yield rest


def _header(token: bytes) -> tuple[int | None, str]:
    """Return the time and the author of a commit; None for a time that git does not print or no calendar has."""
    found = _HEADER.fullmatch(token)
    if found is None:
        raise MalformedLog(f"git's log has no commit where one was expected: {token[:40]!r}")
    # a date before 1970 or without digits is printed as nothing, an overflow with more digits than a time has
    known = found[1].lstrip(b"-") and len(found[1]) <= _DIGITS and int(found[1]) <= LATEST
    time = max(int(found[1]), EARLIEST) if known else None
    return time, _clean(found[2]) or "Unknown"


def _changes(meta: bytes, tokens: Iterator[bytes]) -> Iterator[Change]:
    """Yield the changes of one meta; a rename or a copy, which git does not look for here, has two paths."""
    found = _CHANGE.fullmatch(meta)
    if found is None:
        raise MalformedLog(f"git's log has a line that is no change: {meta[:60]!r}")
    letter = found[1]
    path = _path(tokens)
    if letter in {b"R", b"C"}:
        if letter == b"R":
            yield Change(Action.DELETED, path)
        yield Change(Action.ADDED, _path(tokens))
    elif letter in {b"A", b"D"}:
        yield Change(Action(letter.decode()), path)
    else:
        yield Change(Action.MODIFIED, path)


def _path(tokens: Iterator[bytes]) -> str:
    """Return the next token as a path that has no empty part, since a trailing slash is a folder to gource."""
    token = next(tokens, b"")
    if not token:
        raise MalformedLog("git's log ends within a change")
    return "/".join(_clean(part) or "unnamed" for part in token.split(b"/"))


def _clean(name: bytes) -> str:
    """Return the name as clean UTF-8 text."""
    return clean(name.decode("utf-8", errors="replace"))


def clean(text: str) -> str:
    """Return a name as gource sees it: without `|`, control characters, line ends and marks of direction."""
    kept = "".join(c for c in text if c != "|" and unicodedata.category(c) not in {"Cc", "Cf", "Zl", "Zp"})
    return kept.strip()[:LONGEST_NAME]
