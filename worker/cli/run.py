"""The worker itself."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.core.routing import LANES

Drain = Annotated[bool, typer.Option("--drain", help="End when the queues are empty.")]
Lanes = Annotated[
    str | None,
    typer.Option(
        metavar="LANE,…",
        help=f"Serve these lanes only ({', '.join(LANES)}); by default WORKER_LANES.",
        show_default=False,
    ),
]


def run(drain: Drain = False, lanes: Lanes = None) -> int:
    """Return the worker's exit code."""
    import asyncio  # noqa: PLC0415 - all that a worker is made of, which help does without

    import uvloop  # noqa: PLC0415 - as above

    from worker.app.worker import run_worker  # noqa: PLC0415 - as above
    from worker.settings import load  # noqa: PLC0415 - as above

    only = lanes_in(lanes)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_worker(load(), drain=drain, only=only))
    return 0


def lanes_in(text: str | None) -> tuple[str, ...] | None:
    """Return the lanes that a person named, or None for the settings'; a usage error names an unknown one."""
    if text is None:
        return None
    lanes = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [lane for lane in lanes if lane not in LANES]
    if unknown or not lanes:
        what = repr(unknown[0]) if unknown else "nothing"
        raise typer.BadParameter(f"{what} is no lane; there are {', '.join(LANES)}")
    return lanes
