"""Pydantic models as Markdown tables: names, types, bounds, defaults and meanings, in the order of the models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import AliasChoices, BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TypeAlias

    from pydantic.fields import FieldInfo

    Json: TypeAlias = Mapping[str, Any]

BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "maxProperties": "at most {} keys",
    "pattern": "matches `{}`",
}
SHORT_TYPES = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}


def bound_text(text: str, value: object) -> str:
    """Return a bound in words, in the singular for one."""
    return text.format(value).removesuffix("s") if value == 1 else text.format(value)


def cell(text: object) -> str:
    """Return `text` as it may stand in a table's cell."""
    return " ".join(str(text).split()).replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(cell(item) or ' ' for item in row)} |" for row in rows]


def model_sections(model: type[BaseModel], level: int = 3) -> list[str]:
    """Return a table of `model`, and a section for each model inside it, each shown once."""
    lines = field_table(model)
    for inner in nested(model):
        lines += ["", f"{'#' * level} {inner.__name__}", "", cell(inner.__doc__ or ""), "", *field_table(inner)]
    return lines


def field_table(model: type[BaseModel]) -> list[str]:
    """Return the fields of one model."""
    schema = model.model_json_schema()
    properties, required = schema["properties"], schema.get("required", [])
    rows = []
    for name, info in model.model_fields.items():
        names = spellings(name, info)
        shown = next(one for one in names if one in properties)
        default = "required" if shown in required else default_of(info)
        also = [f"`{one}`" for one in names if one != shown]
        meaning = (info.description or "") + (f" Also written {', '.join(also)}." if also else "")
        rows.append((f"`{shown}`", kind(properties[shown]), bounds(properties[shown]), default, meaning))
    head = ("Field", "Type", "Bounds", "Default", "Meaning")
    shown = [column for column in range(len(head)) if any(row[column] for row in rows)]
    return table([head[column] for column in shown], [[row[column] for column in shown] for row in rows])


def spellings(name: str, info: FieldInfo) -> list[str]:
    """Return every name that publishers may write for a field, the field's own last."""
    match info.validation_alias:
        case AliasChoices():
            names = [str(choice) for choice in info.validation_alias.choices]
        case str():
            names = [info.validation_alias]
        case _:
            names = []
    return list(dict.fromkeys((*names, name.rstrip("_"))))


def default_of(info: FieldInfo) -> str:
    """Return a field's default as JSON would say it."""
    default: object = info.default_factory() if info.default_factory else info.default  # type: ignore[call-arg]  # none of ours takes the data
    match default:
        case None:
            return "none"
        case bool():
            return "`true`" if default else "`false`"
        case BaseModel():
            return "its own defaults"
        case "" | () | [] | {} if not default:
            return "empty"
        case _:
            return f"`{default}`"


def kind(schema: Json) -> str:
    """Return what a value is, in words."""
    if "$ref" in schema:
        return f"[{_name(schema)}](#{_name(schema).lower()})"
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(kind(one) for one in choices if one.get("type") != "null"))
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    match schema.get("type"):
        case "array":
            return f"list of {kind(schema.get('items', {}))}"
        case "object":
            inner = schema.get("additionalProperties")
            return f"map of {kind(inner)}" if isinstance(inner, dict) and inner.get("type") else "map"
        case str(name):
            return {"date-time": "time", "path": "path"}.get(schema.get("format", ""), SHORT_TYPES.get(name, name))
        case _:
            return "any JSON value"


def bounds(schema: Json) -> str:
    """Return a value's bounds, those of its one kind beside null included."""
    choices = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    found = choices[0] if len(choices) == 1 else schema
    shown = [bound_text(text, found[key]) for key, text in BOUNDS.items() if key in found]
    items = found.get("items", {})
    if items and "$ref" not in items and (inner := bounds(items)):
        shown.append(f"each {inner}")
    return ", ".join(shown)


def nested(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Return the models inside `model`, in the order in which a reader meets them."""
    found: dict[type[BaseModel], None] = {}
    for info in model.model_fields.values():
        for inner in _models_in(info.annotation):
            for one in (inner, *nested(inner)):
                found.setdefault(one)
    return list(found)


def _models_in(annotation: object) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


def _name(schema: Json) -> str:
    return str(schema["$ref"]).rpartition("/")[2]
