"""Proves what this host can do by doing it, and remembers it until a tool or a driver is another one."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from worker.core.command import Pipeline, Reason
from worker.core.errors import ToolMissing
from worker.media.capabilities import (
    FORMATS,
    GOURCE_FRAME,
    GOURCE_LOG,
    NOT_LISTED,
    SIZES,
    Capabilities,
    Proof,
    coding_of,
    decoder_trial,
    gource_trial,
    hardware_to_try,
    hardware_trial,
    reason_in,
    software_to_try,
    software_trial,
    version_in,
    version_question,
    why_untried,
)
from worker.media.ffmpeg.options import parse_encoders
from worker.media.ffmpeg.vaapi import USUAL_NODE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.core.command import Exit
    from worker.core.ports import Runner

TRIAL_SECONDS: Final = 20.0
# A trial sleeps as much as it computes: it loads libraries and asks for devices.
TRIALS_PER_CORE: Final = 2
LAYOUT: Final = 3
"""Grows when what is proved changes, so that older files are proved anew."""


class Prover:
    """Tries every encoder whose device is here, every decoder and tool.

    One proof serves all workers of the host until `facts` change.

    `facts` are JSON: where the tools are and how old, which devices and drivers there are (`dri`, the render
    nodes; `video`, those of V4L2), `architecture` and `cores`. `folder` keeps the answers.
    """

    def __init__(self, runner: Runner, tools: Mapping[str, str], facts: Mapping[str, Any], folder: Path) -> None:
        self._runner = runner
        self._tools = tools
        self._facts = facts
        self._folder = folder
        self._node = str((facts.get("dri") or [USUAL_NODE])[0])
        self._turn = asyncio.Semaphore(max(2, TRIALS_PER_CORE * int(facts.get("cores", 1))))
        key = json.dumps([LAYOUT, facts], sort_keys=True)
        self._file = folder / f"capabilities-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"

    async def capabilities(self, *, again: bool = False) -> Capabilities:
        """Return what the host can do, from the file where nothing has changed; `again` proves it anew."""
        if not again and (known := self._kept()):
            return known
        began = time.time()
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._folder / "proof.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            await _locked(descriptor)
            # Another worker may have proved it while this one waited for the lock: then its result is used.
            if (not again or self._age(began) < 0) and (known := self._kept()):
                return known
            found = await self._prove()
            self._keep(found)
        finally:
            os.close(descriptor)
        return found

    def _kept(self) -> Capabilities | None:
        with suppress(OSError, ValidationError):
            return Capabilities.model_validate_json(self._file.read_bytes())
        return None

    def _age(self, began: float) -> float:
        """Return by how many seconds the file is older than `began`; negative when it is younger."""
        try:
            return began - self._file.stat().st_mtime
        except OSError:
            return 0.0

    def _keep(self, found: Capabilities) -> None:
        for old in self._folder.glob("capabilities-*.json"):
            if old != self._file:
                old.unlink(missing_ok=True)
        whole = self._file.with_suffix(f".{os.getpid()}")
        whole.write_text(found.model_dump_json())
        whole.replace(self._file)

    async def _prove(self) -> Capabilities:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="proof-", dir=self._folder) as name:
            folder = Path(name)
            async with asyncio.TaskGroup() as group:
                versions = {
                    tool: group.create_task(self._version(tool)) for tool in sorted(self._tools) if tool != "gource"
                }
                gource = group.create_task(self._draws(folder)) if "gource" in self._tools else None
                media = group.create_task(self._media(folder))
        encoders, listed, decoders, sizes = media.result()
        answers = {tool: task.result() for tool, task in versions.items()}
        tools: dict[str, Proof] = {tool: good or text for tool, (good, text) in answers.items()}
        if gource is not None:
            tools["gource"] = gource.result()
        return Capabilities(
            proved=True,
            encoders=encoders,
            listed=listed,
            decoders=decoders,
            tools=tools,
            versions={tool: text for tool, (good, text) in answers.items() if good},
            max_sizes=sizes,
            render_node=self._node,
            architecture=str(self._facts.get("architecture", "")),
            cores=int(self._facts.get("cores", 0)),
            seconds=round(time.monotonic() - started, 2),
        )

    # ------------------------------------------------------------------ tools

    async def _version(self, tool: str) -> tuple[bool, str]:
        end = await self._try(version_question(tool, self._tools[tool]))
        if isinstance(end, str):
            return False, end
        version = version_in(f"{end.output}\n{end.tail}")
        return (True, version[:120]) if end.ok and version else (False, str(end))

    async def _draws(self, folder: Path) -> Proof:
        """Return whether gource exports a frame; it is ended at the first, for a film would take its seconds."""
        commits = folder / "commits.log"
        commits.write_text(GOURCE_LOG)
        drawn = asyncio.Event()

        def seen(line: str) -> None:
            if line.startswith(GOURCE_FRAME):
                drawn.set()

        run = asyncio.create_task(self._try(gource_trial(self._tools["gource"], commits), seen))
        watch = asyncio.create_task(drawn.wait())
        await asyncio.wait({run, watch}, return_when=asyncio.FIRST_COMPLETED)
        for task in (run, watch):
            task.cancel()
        await asyncio.wait({run, watch})
        if drawn.is_set():
            return True
        end = run.result()
        return end if isinstance(end, str) else f"it draws no frame: {end}"

    # ------------------------------------------------------------------ ffmpeg

    async def _media(self, folder: Path) -> tuple[dict[str, Proof], frozenset[str], dict[str, Proof], dict[str, str]]:
        """Return the proofs of encoders, all names that ffmpeg lists, the proofs of decoders, and largest sizes."""
        proofs: dict[str, Proof] = {name: NOT_LISTED for names in FORMATS.values() for name in names}
        if "ffmpeg" not in self._tools:
            return proofs | dict.fromkeys(proofs, "ffmpeg is not installed"), frozenset(), {}, {}
        end = await self._try_ffmpeg("-hide_banner", "-encoders")
        listed = frozenset(parse_encoders(end.output)) if not isinstance(end, str) else frozenset()
        software, hardware = software_to_try(listed), hardware_to_try(listed)
        async with asyncio.TaskGroup() as group:
            soft = group.create_task(self._software(software, folder))
            hard = {name: group.create_task(self._hardware(name)) for name in hardware}
        proofs |= soft.result() | {name: task.result() for name, task in hard.items()}
        decoders = await self._decoders([name for name in software if proofs[name] is True], folder)
        sizes = [(name, await self._largest(name)) for name in hardware if proofs[name] is True]
        return proofs, listed, decoders, {name: size for name, size in sizes if size}

    async def _software(self, encoders: Sequence[str], folder: Path) -> dict[str, Proof]:
        """Return each one's proof: all of them in one run, and one by one only where that fails."""
        if not encoders:
            return {}
        ffmpeg = self._tools["ffmpeg"]
        proof = _proof(await self._try(software_trial(ffmpeg, encoders, folder)))
        if proof is True or len(encoders) == 1:
            return dict.fromkeys(encoders, proof)
        parts = await asyncio.gather(*(self._software((name,), folder) for name in encoders))
        return {name: proof for part in parts for name, proof in part.items()}

    async def _hardware(self, encoder: str, size: str = "256x256") -> Proof:
        if reason := why_untried(encoder, self._facts):
            return reason
        return _proof(await self._try(hardware_trial(self._tools["ffmpeg"], encoder, self._node, size)))

    async def _largest(self, encoder: str) -> str | None:
        """Return the largest size at which a short encode succeeds."""
        for size, _ in SIZES:
            if await self._hardware(encoder, size) is True:
                return size
        return None

    async def _decoders(self, encoders: Sequence[str], folder: Path) -> dict[str, Proof]:
        """Return each format's proof: what the encoders wrote is read again."""
        samples = {coding: folder / f"{name}.mkv" for name in reversed(encoders) if (coding := coding_of(name))}
        proofs: dict[str, Proof] = dict.fromkeys(FORMATS, "no encoder here could make a sample to try it on")
        if not samples:
            return proofs
        ffmpeg = self._tools["ffmpeg"]
        if _proof(await self._try(decoder_trial(ffmpeg, list(samples.values())))) is True:
            return proofs | dict.fromkeys(samples, True)
        for coding, sample in samples.items():
            proofs[coding] = _proof(await self._try(decoder_trial(ffmpeg, [sample])))
        return proofs

    async def _try_ffmpeg(self, *arguments: str) -> Exit | str:
        return await self._try(Pipeline.of(self._tools["ffmpeg"], *arguments))

    async def _try(self, pipeline: Pipeline, on_line: Callable[[str], None] | None = None) -> Exit | str:
        """Return how a trial ended, or why it did not even begin."""
        async with self._turn:
            try:
                exits = await self._runner.run(pipeline, on_line, timeout=TRIAL_SECONDS, label="trial")
            except ToolMissing as error:
                return str(error)
        return exits[-1]


def _proof(end: Exit | str) -> Proof:
    if isinstance(end, str):
        return end
    if end.ok:
        return True
    return reason_in(end.tail) if end.reason is Reason.EXITED and end.code is not None else str(end)


async def _locked(descriptor: int) -> None:
    """Return when the lock is ours; it goes with its descriptor."""
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(0.1)
