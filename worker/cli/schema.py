"""What a message may look like, and whether one does."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from worker import app
from worker.cli.render import say_facts, say_json
from worker.cli.session import CommandRefused, judge, read_file
from worker.cli.words import warn
from worker.core.errors import InvalidJob, Problem
from worker.core.job import JobMessage
from worker.core.message.dialects import decode
from worker.core.message.wire import nearest

PLACEHOLDER_ID = "unnamed"


def add_to(cli: typer.Typer) -> None:
    """Add the commands of this file."""
    cli.command(
        "schema",
        help="Print a JSON Schema. That of the canonical message, or of one module's data.",
        epilog="Example: leveret schema ffmpeg > ffmpeg.schema.json",
    )(schema)
    cli.command(
        "validate",
        help="Check a message without running it. Exit 0 if a worker would take it, else 1.",
        epilog="Example: leveret validate job.json",
    )(validate)


def schema(
    module: Annotated[str | None, typer.Argument(metavar="MODULE", help="A module's name.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="It is JSON either way.")] = False,
) -> None:
    """Print a JSON Schema."""
    del as_json
    registry = app.registry()
    if module is None:
        say_json(_message_schema(sorted(registry.tasks)))
        return
    task = registry.tasks.get(module)
    if task is None:
        raise CommandRefused(f"unknown module {module!r}{nearest(module, registry.tasks)}")
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
    facts: dict[str, Any] = {"dialect": None, "modules": [], "lane": None, "priority": None}
    problems: tuple[Problem, ...]
    try:
        job = decode(read_file(file), PLACEHOLDER_ID)
    except InvalidJob as error:
        problems = error.problems
    else:
        judgement = judge(job, app.registry())
        problems = judgement.problems
        facts = {
            "dialect": job.dialect,
            "modules": list(judgement.modules),
            "lane": judgement.lane,
            "priority": judgement.priority,
        }
    if as_json:
        told = [{"path": problem.path, "message": problem.message} for problem in problems]
        say_json({"valid": not problems} | facts | {"problems": told})
    else:
        say_facts(
            {
                "message": "invalid" if problems else "valid",
                "dialect": facts["dialect"] or "",
                "modules": ", ".join(facts["modules"]),
                "lane": facts["lane"] or "",
                "priority": facts["priority"] or "",
            }
        )
        for problem in problems:
            warn(str(problem))
    return 1 if problems else 0
