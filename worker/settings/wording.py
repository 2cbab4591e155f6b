"""The messages about wrong settings: the variable, its value unless it may be a secret, and plain words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import ValidationError

LONGEST_VALUE: Final = 60
_PRIVATE: Final = re.compile("URL|TOKEN|PASSWORD|SECRET|KEY|SERVER")
_WORDS: Final = {
    "int_parsing": "is no whole number",
    "int_from_float": "is no whole number",
    "float_parsing": "is no number",
    "finite_number": "is no finite number",
    "bool_parsing": "is neither true nor false",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "is not {expected}",
    "string_too_short": "needs at least {min_length} characters",
    "string_too_long": "has more than {max_length} characters",
    "missing": "is missing",
}
# What a variable with a pattern of its own shall be: a person reads no regular expression.
_FORMS: Final = {
    "serve_address": "write host:port",
    "metrics_address": "write host:port",
    "serve_root_path": "write /path, of letters, digits, . _ ~ and -",
    "upload_folder": "write names of letters, digits, . _ and -, with / between them",
}
_SUBJECTLESS: Final = re.compile("(is|needs|holds|has) ")


def complaints(error: ValidationError, variable: Callable[[str], str] = str) -> str:
    """Return one line that says of each wrong setting what is wrong; `variable` names a field's variable."""
    return "; ".join(_complaint(item, variable) for item in error.errors(include_url=False))


def _complaint(item: Any, variable: Callable[[str], str]) -> str:
    name = variable(str(item["loc"][0])) if item["loc"] else ""
    form, said = _WORDS.get(item["type"]), item["msg"].removeprefix("Value error, ")
    if item["type"] == "string_pattern_mismatch" and item["loc"] and item["loc"][0] in _FORMS:
        said = f"is not well formed: {_FORMS[item['loc'][0]]}"
    words = said if form is None else form.format(**item.get("ctx", {}))
    if form is not None or _SUBJECTLESS.match(words):
        words = _value(name, item["input"]) + words
    return f"{name}: {words}" if name else words


def _value(name: str, value: Any) -> str:
    if _PRIVATE.search(name) or not isinstance(value, str | int | float) or len(str(value)) > LONGEST_VALUE:
        return "it "
    return f"{str(value)!r} "
