"""What a message may look like, and whether one does."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from worker.app.control import modules
from worker.cli.render import say_facts, say_json
from worker.cli.session import read_file
from worker.cli.words import warn
from worker.control.errors import NotFound
from worker.control.validate import validate as validate_document
from worker.core.job import JobMessage
from worker.core.message.wire import nearest


def schema(
    module: Annotated[str | None, typer.Argument(metavar="MODULE", help="A module's name.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="It is JSON either way.")] = False,
) -> None:
    """Print a JSON Schema."""
    del as_json
    registry = modules()
    if module is None:
        say_json(_message_schema(sorted(registry.tasks)))
        return
    task = registry.tasks.get(module)
    if task is None:
        raise NotFound(f"unknown module {module!r}{nearest(module, registry.tasks)}")
    say_json({"$schema": _DRAFT} | task.params.model_json_schema())


_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def _message_schema(modules: list[str]) -> dict[str, Any]:
    """Return the canonical message's schema, with the names of the modules that are installed here."""
    document: dict[str, Any] = {"$schema": _DRAFT} | JobMessage.model_json_schema()
    document["$defs"]["TaskMessage"]["properties"]["module"]["examples"] = modules
    return document


def validate(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="The message.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> int:
    """Return 0 for a valid message."""
    found = validate_document(modules(), read_file(file))
    facts: dict[str, Any] = {
        "dialect": found.dialect,
        "modules": list(found.modules),
        "lane": found.lane,
        "priority": found.priority,
    }
    if as_json:
        problems = [{"path": problem.path, "message": problem.message} for problem in found.problems]
        say_json({"valid": found.valid} | facts | {"problems": problems, "not_checked": list(found.unchecked)})
    else:
        say_facts(
            {
                "message": "valid" if found.valid else "invalid",
                "dialect": found.dialect or "",
                "modules": ", ".join(found.modules),
                "lane": found.lane or "",
                "priority": found.priority or "",
                "not checked": "; ".join(found.unchecked) if found.valid else "",
            }
        )
        for problem in found.problems:
            warn(str(problem))
    return 0 if found.valid else 1
