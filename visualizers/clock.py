"""Gource's virtual clock on this host: built at set-up, used once it is proved."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from visualizers.clock_proof import AGREEING, ATTEMPTS, LOG, Verdict, judge_frames, proof_of
from visualizers.virtual_clock import LIGHTS, SOURCE, library_name, read_report
from worker.core.command import Command, Pipeline
from worker.core.errors import LeveretError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.core.command import Exit
    from worker.core.task import Lookup

# some hundred lines of one frame each
_HASH_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock that renders run on: `library` is the proved virtual one, None means the real one. Why, in one line.

    `pixels` is the hash of the frames that it was proved with: hosts whose drivers draw differently have another one.
    """

    library: Path | None
    reason: str
    pixels: str = ""

    @property
    def name(self) -> str:
        """Return which one it is."""
        return "real" if self.library is None else "virtual"


def built_library() -> Path:
    """Return where set-up puts the library: beside its source."""
    return SOURCE.with_name(library_name(SOURCE.read_bytes() + LIGHTS.read_bytes()))


async def find_clock(lookup: Lookup, library: Path | None = None, cores: int = 1) -> Clock:
    """Return the virtual clock if its frames, drawn on `cores`, are the real one's on this host; else the real one."""
    path = library if library is not None else await asyncio.to_thread(built_library)
    if not await asyncio.to_thread(path.is_file):
        return Clock(None, "the virtual clock is not built here: run `python -m infra clock`")
    try:
        verdict, pixels = await _judge(lookup, path, cores)
    except (LeveretError, ValueError) as error:
        return Clock(None, str(error))
    return Clock(path if verdict.identical else None, verdict.reason, pixels if verdict.identical else "")


async def _judge(lookup: Lookup, library: Path, cores: int) -> tuple[Verdict, str]:
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="gource-clock-"))
    log = folder / "proof.log"
    try:
        await asyncio.to_thread(log.write_text, LOG, encoding="utf-8")
        proof = proof_of(library, log, gource=lookup.tool("gource"), cores=cores)
        virtual, last = await _frames(lookup, proof.command, proof.virtual)
        if last.ok and read_report(last.tail.encode()) is None:
            # The loader goes on without a library that it cannot take, and gource then draws on the real clock.
            return Verdict(identical=False, reason="the virtual clock's library did not come into play"), ""
        verdict = Verdict(identical=False, reason="the real clock was not tried")
        films = Counter[tuple[str, ...]]()
        for _attempt in range(ATTEMPTS):
            real, _ = await _frames(lookup, proof.command, (proof.real,))
            verdict = judge_frames(real, virtual)
            films[real] += 1
            if verdict.identical or not virtual or films[real] == AGREEING:
                break
        return verdict, hashlib.sha256("\n".join(virtual).encode()).hexdigest()
    finally:
        await asyncio.to_thread(log.unlink, missing_ok=True)
        await asyncio.to_thread(folder.rmdir)


async def _frames(
    lookup: Lookup, command: tuple[str, ...], environments: Sequence[Mapping[str, str]]
) -> tuple[tuple[str, ...], Exit]:
    """Return the hash of each frame, by ffmpeg, none when any program failed; and how the last gource ended."""
    hashing = (
        lookup.tool("ffmpeg"), "-hide_banner", "-v", "error", "-f", "image2pipe", "-c:v", "ppm", "-i", "pipe:0",
        "-f", "framemd5", "-",
    )  # fmt: skip
    painters = (Command(command, environment) for environment in environments)
    exits = await lookup.run(Pipeline((*painters, Command(hashing)), _HASH_BYTES, "clock proof"))
    if not all(exit_.ok for exit_ in exits):
        return (), exits[-2]
    lines = exits[-1].output.splitlines()
    return tuple(line.rpartition(",")[2].strip() for line in lines if not line.startswith("#")), exits[-2]
