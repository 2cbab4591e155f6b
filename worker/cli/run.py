"""The worker itself."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from worker.app.worker import run_worker
from worker.core.routing import LANES
from worker.settings import load

Drain = Annotated[bool, typer.Option("--drain", help="End when the queues are empty.")]
Lanes = Annotated[
    str | None,
    typer.Option(
        metavar="LANE,…",
        help=f"Serve these lanes only ({', '.join(LANES)}); by default WORKER_LANES.",
        show_default=False,
    ),
]


def add_to(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command(
        "run",
        help="Take jobs and run them. One at a time, until SIGTERM or Ctrl-C. This is what happens without a command.",
        epilog="Example: leveret run --lanes cpu,visualize",
    )(run)


def run(drain: Drain = False, lanes: Lanes = None) -> int:
    """Return the worker's exit code."""
    only = lanes_in(lanes)
    asyncio.run(run_worker(load(), drain=drain, only=only))
    return 0


def lanes_in(text: str | None) -> tuple[str, ...] | None:
    """Return the lanes that a person named, or None for the settings'; a usage error names an unknown one."""
    if text is None:
        return None
    lanes = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [lane for lane in lanes if lane not in LANES]
    if unknown or not lanes:
        told = repr(unknown[0]) if unknown else "nothing"
        raise typer.BadParameter(f"{told} is no lane; there are {', '.join(LANES)}")
    return lanes
