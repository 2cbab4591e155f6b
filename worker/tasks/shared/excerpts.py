"""Remote sources of which a part fetches only the bytes that it needs, proved before anything is encoded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from worker.core.errors import BadInput, InvalidJob, ToolFailed, VerificationFailed
from worker.media.failure import failed_stage
from worker.media.parts.excerpt import PacketPlaces, index_document, is_there, layout_of, places_command, spans_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from worker.core.parts import Part, Plan
    from worker.core.task import Excerpt, TaskContext
    from worker.media.parts.excerpt import Layout
    from worker.media.parts.timeline import Timeline


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """A remote source while it is planned: how its file is laid out, and where the packets of its picture are."""

    layout: Layout
    packets: PacketPlaces = field(default_factory=PacketPlaces)

    def index(self) -> dict[str, Any]:
        """Return what every part needs of it, for the details of a plan."""
        return {"index": index_document(self.layout)}

    def needed(self, timeline: Timeline, first: int, last: int) -> dict[str, Any]:
        """Return what a part of these pictures needs of it, for the part's details; {} for the whole."""
        found = self.packets.excerpt(timeline, (first, last), timeline.seek(first), self.layout)
        return {} if found is None else {"excerpt": found}


async def remote_source(location: str, path: Path, container: str, context: TaskContext) -> RemoteSource | None:
    """Return a source of whose copy at `path` others may fetch parts; None for one that is read in place or whole."""
    if not context.is_remote(location):
        return None
    layout = await asyncio.to_thread(_layout, path, container)
    return None if layout is None else RemoteSource(layout)


def _layout(path: Path, container: str) -> Layout | None:
    with path.open("rb") as file:
        return layout_of(file, container)


async def encode_from(
    location: str, stream: int, plan: Plan, part: Part, context: TaskContext, encode: Callable[[Path], Awaitable[None]]
) -> None:
    """Await `encode` with a local path of a part's source: with a proved excerpt of it where there is one.

    What goes wrong with an excerpt is tried again with the whole source, whose word counts.
    """
    excerpt = await _prove_excerpt(location, stream, plan, part, context)
    if excerpt is not None:
        try:
            await encode(excerpt.path)
        except (BadInput, InvalidJob, ToolFailed, VerificationFailed) as error:
            context.note(
                "source", {"fetched": excerpt.fetched, "of": plan.details["index"]["size"], "left": str(error)}
            )
        else:
            return
    await encode(await context.input(location))


async def _prove_excerpt(location: str, stream: int, plan: Plan, part: Part, context: TaskContext) -> Excerpt | None:
    """Return an excerpt whose packets are those that the plan read; None where the whole source is needed."""
    needed = spans_of(plan.details, part)
    if needed is None:
        return None
    size, spans = needed
    excerpt = await context.excerpt(location, size, spans)
    if excerpt is None:
        return None
    seek = part.details.get("seek")
    start = None if seek is None else Fraction(seek)
    found, wanted = PacketPlaces(), part.details["excerpt"]
    question = places_command(context.tool("ffprobe"), excerpt.path, stream, start, wanted["packets"])
    exits = await context.run(question, found.line)
    fact = {"fetched": excerpt.fetched, "of": size}
    if failed_stage(exits) or not is_there(found, wanted):
        context.note("source", fact | {"left": "its packets are not those of the plan"})
        return None
    context.note("source", fact)
    return excerpt
