"""`{{ … }}` in the texts of a template: a name and filters, and nothing else that Jinja can do.

A template is parsed as JSON first and its texts are filled one by one, so that a value stays a part of one text: it can
become neither a key nor a list nor an object. The language is what `_check` lets pass: names, filters with constant
arguments, and text around them. There are no statements, calls, operators or tests, so nothing can loop or grow.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from worker.core.errors import InvalidJob, Problem
from worker.core.hints import nearest
from worker.core.template import MAX_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from jinja2 import nodes
    from jinja2.sandbox import SandboxedEnvironment

LONGEST_NAME: Final = 200
"""Bytes of a part of a path: with a suffix it stays below the 255 of a file's name."""
_UNSAFE: Final = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|\u2028\u2029]+')
_NOT_SLUG: Final = re.compile(r"[^a-z0-9]+")
_MARK: Final = re.compile(r"\{[{%#]")


def safe_name(text: str) -> str:
    """Return `text` as one part of a path that every system can hold; `unnamed` where nothing is left."""
    kept = " ".join(_UNSAFE.sub(" ", text).split()).strip(". ")
    whole = kept.encode("utf-8", "ignore")[:LONGEST_NAME].decode("utf-8", "ignore")
    return whole.rstrip(". ").lstrip("-~. ") or "unnamed"


def slug(text: str) -> str:
    """Return `text` in small letters, digits and `-`: for keys, ids and addresses."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return _NOT_SLUG.sub("-", plain).strip("-")[:LONGEST_NAME].rstrip("-") or "unnamed"


def _truncate(text: str, length: int) -> str:
    return text[: max(0, length)]


def _replace(text: str, old: str, new: str) -> str:
    return text.replace(old, new) if old else text


FILTERS: Final[Mapping[str, tuple[Callable[..., str], tuple[type, ...]]]] = {
    "name": (safe_name, ()),
    "slug": (slug, ()),
    "lower": (str.lower, ()),
    "upper": (str.upper, ()),
    "title": (str.title, ()),
    "trim": (str.strip, ()),
    "replace": (_replace, (str, str)),
    "truncate": (_truncate, (int,)),
}
"""The filters, each with the types of its arguments."""


class MissingValue(Exception):
    """A name that has no value for this source."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


@dataclass(frozen=True, slots=True)
class Filled:
    """A text with `{{ … }}`: the names that it uses, and how it is filled."""

    names: tuple[str, ...]
    fill: Callable[[Mapping[str, str]], str]


def has_placeholders(text: str) -> bool:
    """Return whether a text is more than itself."""
    return _MARK.search(text) is not None


@lru_cache(maxsize=4096)
def compiled(text: str) -> Filled:
    """Return a text that can be filled; InvalidJob, without a path, says what in it is no name and no filter."""
    from jinja2 import TemplateSyntaxError  # noqa: PLC0415 - a worker fills no template

    try:
        tree = _environment().parse(text)
    except TemplateSyntaxError as error:
        raise _refusal(f"{{{{ … }}}} cannot be read: {error.message}") from error
    parts = tuple(_parts(tree))
    # The tree is filled as it is: Jinja makes no code of it, so there is none to break out of.
    return Filled(
        tuple(dict.fromkeys(part.name for part in parts if isinstance(part, _Name))), lambda v: _join(parts, v)
    )


@dataclass(frozen=True, slots=True)
class _Name:
    name: str
    filters: tuple[tuple[Callable[..., str], tuple[object, ...]], ...]


def _join(parts: tuple[str | _Name, ...], values: Mapping[str, str]) -> str:
    text = ""
    for part in parts:
        text += part if isinstance(part, str) else _value(part, values)
        if len(text) > MAX_VALUE:
            raise _refusal(f"becomes longer than {MAX_VALUE} characters")
    return text


def _value(part: _Name, values: Mapping[str, str]) -> str:
    try:
        text = values[part.name]
    except KeyError:
        raise MissingValue(part.name) from None
    for function, arguments in part.filters:
        text = function(text, *arguments)
        if len(text) > MAX_VALUE:
            raise _refusal(f"becomes longer than {MAX_VALUE} characters")
    return text


@lru_cache(maxsize=1)
def _environment() -> SandboxedEnvironment:
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415 - as above

    found = ImmutableSandboxedEnvironment(autoescape=False, keep_trailing_newline=True)
    found.globals.clear()
    found.tests.clear()
    found.filters.clear()
    found.filters.update({name: function for name, (function, _) in FILTERS.items()})
    return found


def _parts(tree: nodes.Template) -> Iterator[str | _Name]:
    from jinja2 import nodes  # noqa: PLC0415 - as above

    for item in tree.body:
        if not isinstance(item, nodes.Output):
            raise _refusal("{% … %} is not known here: write {{ name }} or {{ name|filter }}")
        for node in item.nodes:
            yield node.data if isinstance(node, nodes.TemplateData) else _named(node)


def _named(node: nodes.Node | None) -> _Name:
    from jinja2 import nodes  # noqa: PLC0415 - as above

    filters: list[tuple[Callable[..., str], tuple[object, ...]]] = []
    while isinstance(node, nodes.Filter):
        filters.append(_filter(node))
        node = node.node
    parts: list[str] = []
    while isinstance(node, nodes.Getattr):
        parts.append(node.attr)
        node = node.node
    if not isinstance(node, nodes.Name):
        raise _refusal("between {{ and }} is a name, and filters after it: {{ source.stem|lower }}")
    return _Name(".".join([node.name, *reversed(parts)]), tuple(reversed(filters)))


def _filter(node: nodes.Filter) -> tuple[Callable[..., str], tuple[object, ...]]:
    from jinja2 import nodes  # noqa: PLC0415 - as above

    if node.name not in FILTERS:
        raise _refusal(f"unknown filter {node.name[:50]!r}{nearest(node.name, FILTERS) or known(FILTERS)}")
    function, types = FILTERS[node.name]
    values = [one.value if isinstance(one, nodes.Const) else None for one in node.args]
    odd = node.kwargs or node.dyn_args is not None or node.dyn_kwargs is not None
    if odd or len(values) != len(types) or any(type(one) is not kind for one, kind in zip(values, types, strict=False)):
        wanted = ", ".join("a number" if kind is int else "a text" for kind in types)
        raise _refusal(f"the filter {node.name} takes {wanted or 'no argument'}")
    return function, tuple(values)


def known(names: Collection[str]) -> str:
    """Return `; known are a, b`, for a name that none is near."""
    return f"; known are {', '.join(sorted(names))}"


def _refusal(message: str) -> InvalidJob:
    return InvalidJob([Problem("", message)])
