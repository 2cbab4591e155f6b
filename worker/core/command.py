"""What to run, and how it ended. Values only: `worker.process` is where programs start."""

from __future__ import annotations

import signal as signals
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Command:
    """One program to start: an argv without a shell, what is added to its environment, where it runs.

    `secrets` are texts that no log, error or record may show; the runner redacts them. `success` are the
    exit codes that are no failure (mkvmerge's 1 means warnings). `stdin` is written to the program's
    standard input, which is closed at once otherwise.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    secrets: tuple[str, ...] = ()
    success: frozenset[int] = frozenset({0})
    stdin: bytes = b""

    @property
    def program(self) -> str:
        """Return the program's bare name, as errors show it."""
        return Path(self.argv[0]).name


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands joined by kernel pipes, standard output to standard input; most often just one.

    The last stage's standard output comes to us line by line (a tool's progress) and the last
    `capture_bytes` of it are kept in its `Exit.output`. `label` names it in logs per job.
    """

    stages: tuple[Command, ...]
    capture_bytes: int = 64 * 1024
    label: str = ""

    @classmethod
    def of(cls, *argv: str, capture_bytes: int = 64 * 1024, label: str = "") -> Pipeline:
        """Return a pipeline of the one command `argv`."""
        return cls((Command(argv),), capture_bytes, label)


class Reason(StrEnum):
    """Why a process is no more."""

    EXITED = "exited"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class Exit:
    """How one stage ended.

    `code` is the exit code, or None when `signal` ended it; `tail` the last of its standard error and
    `output` of its standard output, both decoded, redacted and bounded; `seconds` wall time;
    `cpu_seconds` user and system time, 0.0 where the kernel did not tell.
    """

    command: Command
    code: int | None
    signal: int | None
    seconds: float
    tail: str
    output: str = ""
    reason: Reason = Reason.EXITED
    cpu_seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Return whether the stage ended by itself with a code that means success."""
        return self.reason is Reason.EXITED and self.code in self.command.success

    def __str__(self) -> str:
        """Return `ffmpeg exited 1 after 62 s: Error opening input`: subject, fact, number, last word."""
        if self.reason is not Reason.EXITED:
            how = f"was stopped: it {self.reason}" if self.reason is not Reason.CANCELLED else "was cancelled"
        elif self.signal is not None:
            how = f"was killed by {signals.Signals(self.signal).name}"
        else:
            how = f"exited {self.code}"
        lines = [line.strip() for line in self.tail.splitlines() if line.strip()]
        last = f": {lines[-1][:300]}" if lines else ""
        return f"{self.command.program} {how} after {self.seconds:.0f} s{last}"
