"""Starts programs, and promises that none of them outlives us."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import signal
import subprocess
import uuid
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from worker.core.command import Exit, Reason
from worker.process.drain import Lines, Sink, Tail, drain
from worker.process.stage import Stage, locate
from worker.process.watch import ATTEMPT, RUN, Pulse, in_sessions, kill_all, marked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.core.command import Command, Pipeline

PIPE_BYTES: Final = 1 << 20
GRACE_SECONDS: Final = 2.0
# How long after the last exit a pipe may stay open: a killed holder's end closes at once.
DRAIN_SECONDS: Final = 2.0


class ProcessRunner:
    """Runs pipelines of programs; implements `worker.core.ports.Runner`.

    `environment` is all that programs see of ours. `memory_bytes` bounds what they allocate and
    `file_bytes` the files that they write; 0 is no bound. `on_exit` is called when a program ends.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        nice: int = 10,
        memory_bytes: int = 0,
        file_bytes: int = 0,
        grace_seconds: float = GRACE_SECONDS,
        on_exit: Callable[[Exit], None] | None = None,
    ) -> None:
        self._environment = dict(environment)
        self._nice, self._grace, self._on_exit = nice, grace_seconds, on_exit
        wanted = ((resource.RLIMIT_DATA, memory_bytes), (resource.RLIMIT_FSIZE, file_bytes), (resource.RLIMIT_CORE, 0))
        self._limits = tuple((kind, value) for kind, value in wanted if value or kind == resource.RLIMIT_CORE)

    async def run(
        self,
        pipeline: Pipeline,
        on_line: Callable[[str], None] | None = None,
        *,
        timeout: float | None = None,
        stall: float | None = None,
        label: str = "",
        on_error: Callable[[str, str], None] | None = None,
    ) -> tuple[Exit, ...]:
        """Return how every stage ended; see the port. CancelledError comes only once all of it is dead."""
        running = _Running(pipeline, on_line, on_error, self._grace)
        mark = uuid.uuid4().hex
        added = {RUN: mark} | ({ATTEMPT: label or pipeline.label} if label or pipeline.label else {})
        work = asyncio.create_task(self._whole(running, added, timeout, stall))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            running.stop(Reason.CANCELLED)
            while not work.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({work})
            if not work.cancelled():
                work.exception()  # it was looked at: what the cancelled caller wants no more is no loss
            raise

    async def sweep(self, live: Callable[[str], bool]) -> int:
        """Kill processes whose attempt is not live; return how many there were."""

        def stray() -> set[int]:
            return {pid for pid, label in marked(ATTEMPT) if not live(label)}

        killed, _ = await asyncio.to_thread(kill_all, stray)
        return killed

    async def _whole(
        self, running: _Running, added: Mapping[str, str], timeout: float | None, stall: float | None
    ) -> tuple[Exit, ...]:
        try:
            running.start({**self._environment, **added}, self._nice, self._limits)
            await running.supervise(timeout, stall)
        finally:
            await running.end(added[RUN])
        exits = tuple(stage.exit() for stage in running.stages)
        if self._on_exit is not None:
            for one in exits:
                self._on_exit(one)
        return exits


class _Running:
    """One pipeline while it runs."""

    def __init__(
        self,
        pipeline: Pipeline,
        on_line: Callable[[str], None] | None,
        on_error: Callable[[str, str], None] | None,
        grace: float,
    ) -> None:
        self.stages: list[Stage] = []
        self._pipeline, self._on_line, self._on_error, self._grace = pipeline, on_line, on_error, grace
        self._pulse: Pulse | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._exits: dict[asyncio.Task[None], Stage] = {}
        self._stopping: Reason | None = None
        self._asked = asyncio.Event()

    def stop(self, reason: Reason) -> None:
        """Ask for the end of all stages; the first reason counts."""
        self._stopping = self._stopping or reason
        self._asked.set()

    def start(self, environment: Mapping[str, str], nice: int, limits: tuple[tuple[int, int], ...]) -> None:
        """Start every stage. ToolMissing, before any of them where that can be known."""
        commands = self._pipeline.stages
        paths = [locate(command, {**environment, **command.environment}) for command in commands]
        with ExitStack() as descriptors:
            joints = [_pipe(descriptors) for _ in commands]
            output, _ = joints[-1]
            upstream = _stdin(commands[0], descriptors)
            for command, path, (reading, writing) in zip(commands, paths, joints, strict=True):
                stage = Stage.start(
                    command,
                    path,
                    {**environment, **command.environment},
                    stdin=upstream,
                    stdout=writing,
                    nice=nice,
                    limits=limits,
                )
                self.stages.append(stage)
                self._exits[asyncio.create_task(stage.ended())] = stage
                self._readers.append(asyncio.create_task(drain(stage.stderr, self._complaints(stage))))
                upstream = reading
            output = os.dup(output)
        kept = Tail(self._pipeline.capture_bytes)
        self.stages[-1].output = kept
        sinks: list[Sink] = [kept, Lines(self._line)] if self._on_line else [kept]
        self._readers.append(asyncio.create_task(drain(output, sinks)))

    def _complaints(self, stage: Stage) -> list[Sink]:
        """Return what takes a stage's standard error."""
        if self._on_error is None:
            return [stage.tail]
        return [stage.tail, Lines(partial(self._on_error, stage.command.program))]

    def _line(self, text: str) -> None:
        if self._pulse:
            self._pulse.line(text)
        if self._on_line:
            self._on_line(text)

    async def supervise(self, timeout: float | None, stall: float | None) -> None:
        """Return when every stage has ended: by itself, or because a peer failed, time is up, or it stalled."""
        self._pulse = Pulse(stage.pid for stage in self.stages) if stall else None
        timers: list[asyncio.Task[Any]] = [asyncio.create_task(self._asked.wait())]
        if timeout is not None:
            timers.append(asyncio.create_task(self._time_out(timeout)))
        if self._pulse and stall:
            timers.append(asyncio.create_task(self._watch(self._pulse, stall)))
        pending: set[asyncio.Task[None]] = set(self._exits)
        try:
            while pending and not self._asked.is_set():
                watched = {*pending, *(r for r in self._readers if not r.done()), *timers}
                await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                pending = {task for task in pending if not task.done()}
                self._judge()
            if pending:
                await self._terminate(pending)
        finally:
            for timer in timers:
                timer.cancel()
            await asyncio.gather(*timers, return_exceptions=True)

    def _judge(self) -> None:
        """End the pipeline early where going on is pointless: a stage failed, or our own reader of lines did."""
        if any(reader.done() and reader.exception() for reader in self._readers):
            self.stop(Reason.CANCELLED)
        ended = [stage for stage in self.stages if not stage.running]
        if any(not stage.ok for stage in ended) or (ended and self.stages[-1] in ended):
            # a stage without a reader ends by SIGPIPE now, or its work has no use
            self.stop(Reason.CANCELLED)

    async def _terminate(self, pending: set[asyncio.Task[None]]) -> None:
        """TERM to the groups that still run, then KILL."""
        reason = self._stopping or Reason.CANCELLED
        failed = any(not stage.running and not stage.ok for stage in self.stages)
        if reason is Reason.CANCELLED and not failed and not self.stages[-1].running:
            _, pending = await asyncio.wait(pending, timeout=self._grace)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for task in pending:
                self._exits[task].reason = reason
                self._exits[task].signal(number)
                self._exits[task].signal(signal.SIGCONT)  # a stopped process takes no TERM
            if pending:
                _, pending = await asyncio.wait(pending, timeout=self._grace)

    async def _time_out(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.stop(Reason.TIMED_OUT)

    async def _watch(self, pulse: Pulse, stall: float) -> None:
        idle, interval = 0.0, min(1.0, stall / 5)
        while idle < stall:
            await asyncio.sleep(interval)
            idle = await asyncio.to_thread(pulse.idle_seconds, 2 * interval)
        self.stop(Reason.STALLED)

    async def end(self, mark: str) -> None:
        """Kill whatever is left, until nothing is; then take the last of the pipes. Raises what a reader raised."""
        sessions = {stage.pid for stage in self.stages}

        def left() -> set[int]:
            own = {stage.pid for stage in self.stages if not stage.running}
            return ({pid for pid, value in marked(RUN) if value == mark} | set(in_sessions(sessions))) - own

        if self.stages:
            await asyncio.to_thread(kill_all, left)
            await asyncio.wait(self._exits, timeout=DRAIN_SECONDS)
        if self._readers:
            _, late = await asyncio.wait(self._readers, timeout=DRAIN_SECONDS)
            for reader in late:
                reader.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            for reader in self._readers:
                if not reader.cancelled() and (error := reader.exception()):
                    raise error


def _pipe(descriptors: ExitStack) -> tuple[int, int]:
    """Return a pipe's two ends, 1 MiB wide where the kernel lets us; both close with `descriptors`."""
    reading, writing = os.pipe()
    descriptors.callback(os.close, reading)
    descriptors.callback(os.close, writing)
    with suppress(OSError):  # the user's pipe quota is spent: the default width works, slower
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return reading, writing


def _stdin(command: Command, descriptors: ExitStack) -> int:
    """Return what the first stage reads: nothing, or its bytes in a memory file, which no slow reader can block."""
    if not command.stdin:
        return subprocess.DEVNULL
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    descriptors.callback(os.close, descriptor)
    view = memoryview(command.stdin)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
