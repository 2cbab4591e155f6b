"""The module `probe`: what a media file is, into the record."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from worker.core.errors import BadInput, VerificationFailed
from worker.core.job import Model, Place
from worker.core.task import Files, FileUse, Task, TaskContext
from worker.media.facts import facts_of
from worker.media.verify import Verify  # noqa: TC001  # pydantic reads it at run time
from worker.tasks.shared.decoding import prove_by_decoding
from worker.tasks.shared.measuring import probe_source

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.media_info import MediaInfo


class ProbeParams(Model):
    """The file to look at."""

    source: Place = Field(description="The file.")
    output_file: Place | None = Field(None, description="Where the facts go as JSON, beside the record.")
    overwrite: bool = Field(default=False, description="Whether a file of that name may be replaced.")
    verify: Verify = Field(
        "probe", description="Whether to look at what the file states of itself, or to decode all of it too."
    )


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
        """Return ffprobe, and ffmpeg where it decodes."""
        return frozenset({"tool:ffprobe", *(["tool:ffmpeg"] if params.verify == "decode" else [])})

    async def run(self, params: ProbeParams, context: TaskContext) -> None:
        """Note the facts under `probe`; BadInput when the file is no media."""
        source = await context.input(params.source)
        info = await probe_source(source, params.source, context)
        if params.verify == "decode":
            await _prove_decodes(source, params.source, info, context)
        facts = facts_of(info)
        context.note("probe", facts)
        if params.output_file:
            path = context.output(params.output_file, media_type="application/json", duration=info.duration)
            text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
            await asyncio.to_thread(path.write_text, text, encoding="utf-8")
        context.report(1.0)


async def _prove_decodes(source: Path, name: str, info: MediaInfo, context: TaskContext) -> None:
    try:
        await prove_by_decoding(source, name, context, seconds=info.duration, share=1.0)
    except VerificationFailed as error:
        raise BadInput(f"a source is damaged or cut short: {error}") from error
