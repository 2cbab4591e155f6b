"""Foreign JSON made safe: bounded before it is parsed, and its faults reported as `Problem`s with paths.

The bounds are messages.md's: 1 MiB, 32 deep, no repeated key. Two more come from what lies behind us:
PostgreSQL's text holds no NUL, and neither database nor broker carries half a surrogate pair.
"""

from __future__ import annotations

import json
import math
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from pydantic import AliasChoices, BaseModel, ValidationError

from worker.core.errors import InvalidJob, Problem
from worker.core.hints import MAX_HINTS, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic.fields import FieldInfo

M = TypeVar("M", bound=BaseModel)

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 32
MAX_PROBLEMS: Final = 100
"""The number of faults of one message that are reported."""
_SHORTEST_PART: Final = 3
"""Fewer letters are a part of every name."""

# Possessive, and a string may end with the body: else each quote of a megabyte of `"\"\"\"…` is tried to its end,
# which takes hours.
_STRUCTURE: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


def parse(body: bytes) -> Any:
    """Return the JSON value in `body`.

    Raises InvalidJob when it is too large, too deep, not UTF-8, not JSON, repeats a key, or holds a
    number or a text that no database here can store.
    """
    if len(body) > MAX_BODY_BYTES:
        raise _refusal(f"the message is {len(body)} bytes; at most {MAX_BODY_BYTES} are accepted")
    if _depth(body) > MAX_DEPTH:
        raise _refusal(f"the message is nested deeper than {MAX_DEPTH} levels")
    try:
        value = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise _refusal(f"the message is not UTF-8: byte {error.start} cannot be decoded") from error
    except json.JSONDecodeError as error:
        raise _refusal(f"not JSON: {error.msg} at line {error.lineno} column {error.colno}") from error
    except ValueError as error:  # the hooks below, and integers of more than 4,300 digits
        raise _refusal(str(error).split(";", 1)[0]) from error
    if problems := tuple(islice(_unstorable(value), MAX_PROBLEMS)):
        raise InvalidJob(problems)
    return value


def _refusal(message: str) -> InvalidJob:
    return InvalidJob([Problem("", message)])


def _depth(body: bytes) -> int:
    """Return how deep brackets nest outside strings; enough to keep the recursive parser safe."""
    depth = deepest = 0
    for match in _STRUCTURE.finditer(body):
        first = match.group()[0]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # add() returns None on purpose
        raise ValueError(f"the key {repeated[:100]!r} is twice in one object")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"not JSON: {name} is no number")


_Where: TypeAlias = "tuple[_Where, str | int] | None"
"""A place in a document: the one around it, and the key or index in that."""


def _unstorable(value: object) -> Iterable[Problem]:
    """Yield what no database here can store, in the order of the document."""
    todo: list[tuple[object, _Where]] = [(value, None)]
    while todo:
        item, where = todo.pop()
        match item:
            case str() if _UNSTORABLE.search(item):
                yield Problem(_path(where), "holds a NUL or half of a surrogate pair")
            case float() if not math.isfinite(item):
                yield Problem(_path(where), "is too large a number")
            case int() if abs(item) >= 2**63:
                yield Problem(_path(where), "is too large a number")
            case dict():
                if any(map(_UNSTORABLE.search, item)):
                    yield Problem(_path(where), "has a key that holds a NUL or half of a surrogate pair")
                todo += [(inner, (where, key)) for key, inner in reversed(item.items()) if not _UNSTORABLE.search(key)]
            case list():
                todo += [(item[index], (where, index)) for index in reversed(range(len(item)))]
            case _:
                pass


def _path(where: _Where) -> str:
    parts = []
    while where is not None:
        where, part = where
        parts.append(part)
    path = ""
    for part in reversed(parts):
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def validated(model: type[M], value: object, prefix: str = "") -> M:
    """Return `value` as a `model`; InvalidJob with every fault, its path under `prefix`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InvalidJob(problems_of(error, prefix, model)) from error


def problems_of(
    error: ValidationError, prefix: str, model: type[BaseModel], more: Iterable[str] = ()
) -> tuple[Problem, ...]:
    """Return pydantic's complaints about `model` as problems under `prefix`.

    An unknown field is reported with the nearest field of its object; `more` are names that the
    outermost object knows beside the model's own.
    """
    beside = frozenset(more)
    items = list(islice(error.errors(include_url=False), MAX_PROBLEMS))
    missing = frozenset(item["loc"] for item in items if item["type"] == "missing")
    return tuple(
        _problem(item, prefix, model if index < MAX_HINTS else None, beside, missing)
        for index, item in enumerate(items)
    )


def _problem(
    item: Any,
    prefix: str,
    model: type[BaseModel] | None,
    more: frozenset[str],
    missing: frozenset[tuple[str | int, ...]] = frozenset(),
) -> Problem:
    location = [part for part in item["loc"] if not _is_union_tag(part)]
    path = prefix
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    match item["type"]:
        case "extra_forbidden":
            if model is None:
                return Problem(path, "unknown field")
            if meant := _missing_beside(item["loc"], missing):
                return Problem(path, f"unknown field; did you mean {meant!r}?")
            known = _names_beside(model, location) | (more if len(location) == 1 else frozenset())
            return Problem(path, f"unknown field{nearest(str(location[-1]), known)}")
        case "missing":
            return Problem(path, "is missing")
        case "too_short":
            return Problem(path, f"needs at least {_counted(item['ctx']['min_length'], item['ctx'])}")
        case "too_long":
            return Problem(path, f"takes at most {_counted(item['ctx']['max_length'], item['ctx'])}")
        case _:
            message = item["msg"].removeprefix("Value error, ")
            return Problem(path, message[:1].lower() + message[1:])


def _missing_beside(place: tuple[str | int, ...], missing: frozenset[tuple[str | int, ...]]) -> str | None:
    """Return the field that an unknown one was probably meant to be: one that is missing, of which it is a part."""
    name = str(place[-1])
    beside = sorted(str(other[-1]) for other in missing if other[:-1] == place[:-1])
    return next((field for field in beside if len(name) >= _SHORTEST_PART and (name in field or field in name)), None)


def _counted(number: int, context: Mapping[str, Any]) -> str:
    thing = "key" if context["field_type"] == "Dictionary" else "item"
    return f"{number} {thing}" + "s" * (number != 1)


def _names_beside(model: type[BaseModel], location: list[Any]) -> frozenset[str]:
    """Return the names, as publishers may write them, of the fields of the object that holds the last of `location`."""
    models = [model]
    for part in location[:-1]:
        fields = [info for one in models for name, info in one.model_fields.items() if part in _spellings(name, info)]
        # an index, or a key of a map, says nothing about the model
        models = [inner for info in fields for inner in _models_in(info.annotation)] if fields else models
    return frozenset(name for one in models for field in one.model_fields.items() for name in _spellings(*field))


def _spellings(name: str, info: FieldInfo) -> set[str]:
    found = {name}
    for alias in (info.alias, info.validation_alias):
        match alias:
            case AliasChoices():
                found |= {str(choice) for choice in alias.choices}
            case str():
                found.add(alias)
            case _:
                pass
    return found


def _models_in(annotation: object) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


def _is_union_tag(part: object) -> bool:
    """Return whether pydantic put the name of a union's member into the path, which no author wrote."""
    return isinstance(part, str) and (part.endswith("]") or part in {"str", "int", "float", "bool"})
