"""The JSON Schemas of messages and of modules' data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from worker.control.errors import NotFound
from worker.core.hints import nearest
from worker.core.job import JobMessage

if TYPE_CHECKING:
    from worker.registry import Registry

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


def message_schema(registry: Registry) -> dict[str, Any]:
    """Return the canonical message's schema, with the names of the modules that are installed."""
    document: dict[str, Any] = {"$schema": DRAFT} | JobMessage.model_json_schema()
    document["$defs"]["TaskMessage"]["properties"]["module"]["examples"] = sorted(registry.tasks)
    return document


def module_schema(registry: Registry, name: str) -> dict[str, Any]:
    """Return the schema of one module's data; NotFound names the nearest."""
    task = registry.tasks.get(name)
    if task is None:
        raise NotFound(f"unknown module {name[:100]!r}{nearest(name, registry.tasks)}")
    return {"$schema": DRAFT} | task.params.model_json_schema()
