"""The module `probe`: what a media file is, into the record."""

from __future__ import annotations

import asyncio
import json
from typing import ClassVar

from pydantic import Field

from worker.core.job import Model, Place
from worker.core.task import Files, FileUse, Task, TaskContext
from worker.media.facts import facts_of


class ProbeParams(Model):
    """What to look at."""

    source: Place = Field(description="The file.")
    output_file: Place | None = Field(None, description="Where the facts go as JSON, beside the record.")
    overwrite: bool = Field(default=False, description="Whether a file of that name may be replaced.")


class ProbeTask(Task[ProbeParams]):
    """Probes a file."""

    module: ClassVar[str] = "probe"
    params = ProbeParams
    weight: ClassVar[float] = 0.1

    def files(self, params: ProbeParams) -> Files:
        """Return the file, and the document where one is asked for."""
        written = params.output_file
        writes = (FileUse("output_file", written, params.overwrite),) if written else ()
        return Files((FileUse("source", params.source),), writes)

    def requires(self, params: ProbeParams) -> frozenset[str]:
        """Return ffprobe."""
        del params
        return frozenset({"tool:ffprobe"})

    async def run(self, params: ProbeParams, context: TaskContext) -> None:
        """Note the facts under `probe`; BadInput when the file is no media."""
        info = await context.probe(await context.input(params.source))
        facts = facts_of(info)
        context.note("probe", facts)
        if params.output_file:
            path = context.output(params.output_file, media_type="application/json", duration=info.duration)
            text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
            await asyncio.to_thread(path.write_text, text, encoding="utf-8")
        context.report(1.0)
