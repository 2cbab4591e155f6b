"""The values of a template's variables: checked, and as conditions and messages have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core import placeholders
from worker.core.errors import InvalidJob, Problem, RefusedPath
from worker.core.location import External, parse_location
from worker.core.template import MAX_VALUE
from worker.media.conditions import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.core.template import Variable
    from worker.media.conditions import Value


def kinds(variables: Mapping[str, Variable]) -> dict[str, Kind]:
    """Return what conditions may do with each variable."""
    return {name: Kind.NUMBER if one.kind == "number" else Kind.TEXT for name, one in variables.items()}


def typed_values(variables: Mapping[str, Variable], values: Mapping[str, str]) -> dict[str, Value]:
    """Return the values as conditions compare them."""
    return {
        name: float(value) if variables[name].kind == "number" else value
        for name, value in values.items()
        if name in variables
    }


def check_value(variable: Variable, value: str) -> str:
    """Return a value that a person gave, as the variable keeps it; InvalidJob says why it cannot be one."""
    if len(value) > MAX_VALUE:
        raise InvalidJob([Problem("", f"has {len(value)} characters; at most {MAX_VALUE} are accepted")])
    if variable.choices and value not in variable.choices:
        raise InvalidJob([Problem("", f"is one of {', '.join(variable.choices)}, not {value[:60]!r}")])
    if variable.kind == "number":
        try:
            float(value)
        except ValueError:
            raise InvalidJob([Problem("", f"is a number, not {value[:60]!r}")]) from None
        if not value.strip("+-").replace(".", "", 1).isdigit():
            raise InvalidJob([Problem("", f"is a plain number, not {value[:60]!r}")])
    if variable.kind == "folder":
        return _folder(value)
    return placeholders.safe_name(value) if variable.kind == "name" else value


def _folder(value: str) -> str:
    """Return a folder without a slash at its end; it is a place of a storage, whichever roots allow it."""
    try:
        place = parse_location(value)
    except RefusedPath as error:
        raise InvalidJob([Problem("", str(error))]) from error
    if not isinstance(place, External) or place.is_web:
        raise InvalidJob([Problem("", f"is a folder like nas://out, not {value[:60]!r}")])
    return str(place).rstrip("/")


def number_of(text: str) -> float | int | str:
    """Return a number's text as the number; whole ones are integers."""
    try:
        return int(text)
    except ValueError:
        return float(text) if text else text
