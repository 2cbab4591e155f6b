"""The commands `schema` and `validate`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.app.control import modules
from worker.app.operations import documents
from worker.cli.render import say_facts, say_json
from worker.cli.session import read_file
from worker.cli.words import warn
from worker.control.validate import validate as validate_words
from worker.settings import load

if TYPE_CHECKING:
    from worker.control.validate import Validation


def schema(
    module: Annotated[str | None, typer.Argument(metavar="MODULE", help="A module's name.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Accepted for symmetry: the output is JSON anyway.")] = False,
) -> None:
    """Print a JSON Schema."""
    del as_json

    async def command() -> dict[str, Any]:
        async with documents() as known:
            return await (known.message_schema() if module is None else known.module_schema(module))

    say_json(asyncio.run(command()))


def validate(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="The message.", show_default=False)],
    here: Annotated[
        bool, typer.Option("--here", help="Also check its sources, outputs, option sets and encoders on this host.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> int:
    """Return 0 for a valid message."""
    body = read_file(file)

    async def command() -> Validation:
        if here:
            # It looks at tools and storages, which a judgement of words does without.
            from worker.app.direct.here import validated_here  # noqa: PLC0415

            return await validated_here(load(), modules(), validate_words(modules(), body))
        async with documents() as known:
            return await known.validate(body)

    found = asyncio.run(command())
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
