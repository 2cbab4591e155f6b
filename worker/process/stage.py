"""One running program of a pipeline: how it starts, how its end is known, how its group is ended."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from worker.core.command import Exit, Reason
from worker.core.errors import ToolMissing
from worker.core.redaction import HIDDEN, redact
from worker.process.drain import Tail, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from worker.core.command import Command

_LAST_LEVEL: Final = 7
_FIRST_TO_GO: Final = 500
STDERR_HEAD_BYTES: Final = 16 * 1024
STDERR_TAIL_BYTES: Final = 48 * 1024
# setpriv's own words (util-linux) when it cannot start what it was given
_NOT_STARTED: Final = "setpriv: failed to execute "


def locate(command: Command, environment: Mapping[str, str]) -> str:
    """Return the path of the program of `command`; ToolMissing when there is none or it cannot be started.

    What is neither ELF nor a script is refused here, for exec's fallback would give it to /bin/sh.
    """
    name = command.argv[0]
    path = shutil.which(name, path=environment.get("PATH", os.defpath))
    if path is None:
        there = Path(name).exists()
        raise ToolMissing(f"{name} {'is not executable' if there else 'is not installed'}")
    try:
        with Path(path).open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise ToolMissing(f"{name} cannot be read: {error.strerror}") from error
    if head != b"\x7fELF" and not head.startswith(b"#!"):
        raise ToolMissing(f"{path} is no program")
    return path


def _lower_priority(pid: int, nice: int) -> None:
    """Let other programs read and write first, and live on where memory ends.

    The lowest best-effort level, for the idle class can starve. The kernel kills the tool before the worker, whose
    attempt then fails with a reason, and before the host's other programs.
    """
    with suppress(OSError):  # no Linux, or gone already
        Path(f"/proc/{pid}/oom_score_adj").write_text(f"{_FIRST_TO_GO}\n")
    with suppress(psutil.Error, OSError, AttributeError):  # not on this platform, or a sandbox forbids it
        if nice:
            psutil.Process(pid).ionice(psutil.IOPRIO_CLASS_BE, _LAST_LEVEL)


def _limits_of(command: Command, limits: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the limits of a program: every tool's, and its own where that is lower.

    Memory is what it allocates (RLIMIT_DATA), not its address space, of which drivers reserve more than any host has.
    """
    found = dict(limits)
    if command.memory_bytes:
        found[resource.RLIMIT_DATA] = min(command.memory_bytes, found.get(resource.RLIMIT_DATA) or command.memory_bytes)
    yield from found.items()


class Stage:
    """A started program: its process, what it complained of, and its end."""

    def __init__(self, command: Command, process: subprocess.Popen[bytes], stderr: int) -> None:
        self.command, self.pid, self.stderr = command, process.pid, stderr
        self.tail = Tail(STDERR_TAIL_BYTES, STDERR_HEAD_BYTES)
        self.output: Tail | None = None
        self.reason = Reason.EXITED
        self.status: int | None = None
        self._process = process
        self._started, self._seconds, self._cpu = time.monotonic(), 0.0, 0.0

    @classmethod
    def start(
        cls,
        command: Command,
        path: str,
        environment: Mapping[str, str],
        *,
        stdin: int,
        stdout: int,
        nice: int,
        limits: Iterable[tuple[int, int]],
    ) -> Stage:
        """Return the started program, in a session of its own, that dies with us; ToolMissing when it does not start.

        setpriv asks the kernel for that death signal in the child itself, which a `preexec_fn` could do only
        at the risk of a deadlock beside threads. Without setpriv it is the next start's sweep that ends
        leftovers. Costs 2 ms.
        """
        guard = shutil.which("setpriv", path=environment.get("PATH", os.defpath))
        argv = (path, *command.argv[1:])
        reading, writing = os.pipe()
        try:
            process = subprocess.Popen(
                (guard, "--pdeathsig", "KILL", "--", *argv) if guard else argv,
                stdin=stdin,
                stdout=stdout,
                stderr=writing,
                cwd=command.folder,
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as error:
            os.close(reading)
            raise ToolMissing(f"{command.program} does not start: {error.strerror}") from error
        finally:
            os.close(writing)
        with suppress(ProcessLookupError, PermissionError):  # gone already, or a lower limit is set already
            os.setpriority(os.PRIO_PROCESS, process.pid, nice)
            _lower_priority(process.pid, nice)
            for kind, value in _limits_of(command, limits):
                resource.prlimit(process.pid, kind, (value, value))
        return cls(command, process, reading)

    @property
    def running(self) -> bool:
        """Return whether its end has not been seen."""
        return self.status is None

    @property
    def ok(self) -> bool:
        """Return whether it ended by itself, with a code that means success."""
        return self.reason is Reason.EXITED and self.status in self.command.success

    async def ended(self) -> None:
        """Wait for the end; then end what else is in its group, while its pid still cannot mean anybody else."""
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        descriptor = os.pidfd_open(self.pid)
        loop.add_reader(descriptor, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        self.signal(signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)  # noqa: ASYNC222 - it has ended: this returns at once
        self.status = self._process.returncode = os.waitstatus_to_exitcode(status)
        self._seconds = time.monotonic() - self._started
        self._cpu = usage.ru_utime + usage.ru_stime

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its whole group, if its end has not been seen."""
        if self.running:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def exit(self) -> Exit:
        """Return how it ended; ToolMissing when it never began."""
        if self.status is None:
            raise ToolMissing(f"{self.command.program} (pid {self.pid}) does not die; it sits in the kernel")
        tail = text_of(self.tail.content)
        if self.status in {126, 127} and tail.startswith(_NOT_STARTED):
            raise ToolMissing(f"{self.command.program} does not start: {tail.strip().rpartition(': ')[2]}")
        output = text_of(self.output.content) if self.output else ""
        for secret in filter(None, self.command.secrets):
            output = output.replace(secret, HIDDEN)
        return Exit(
            command=self.command,
            code=self.status if self.status >= 0 else None,
            signal=-self.status if self.status < 0 else None,
            seconds=self._seconds,
            tail=redact(tail, self.command.secrets),
            output=output,
            reason=self.reason,
            cpu_seconds=self._cpu,
        )
