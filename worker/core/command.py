"""Commands, pipelines, and how they ended. Values only: `worker.process` is where programs start."""

from __future__ import annotations

import re
import signal as signals
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_SHORTEST_NAME: Final = 4


@dataclass(frozen=True, slots=True)
class Command:
    """One program to start: an argv without a shell, what is added to its environment, where it runs.

    `secrets` are texts that no log, error or record may show; the runner redacts them. `success` are the
    exit codes that are no failure (mkvmerge's 1 means warnings). `stdin` is written to the program's
    standard input, which is closed at once otherwise. `names` are texts of the job that the argv does not show (they
    lie in an option file), which the program may repeat in its complaints. `memory_bytes` is a lower bound of memory
    for this program than the runner's for every tool; 0 is none.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    secrets: tuple[str, ...] = ()
    success: frozenset[int] = frozenset({0})
    stdin: bytes = b""
    names: tuple[str, ...] = ()
    memory_bytes: int = 0

    def without_names(self, text: str) -> str:
        """Return a complaint of the program without the job's own words: `No space left.mkv` says nothing of a disk.

        A job chooses paths, titles and other values; what they hold must not decide what an error means.
        """
        words = (*self.argv[1:], *self.names)
        found = {name for word in words for name in _names_in(word) if len(name) >= _SHORTEST_NAME}
        for name in sorted(found, key=len, reverse=True):
            text = text.replace(name, "<name>")
        return text

    @property
    def program(self) -> str:
        """Return the program's bare name, as errors show it."""
        return Path(self.argv[0]).name


def _names_in(word: str) -> Iterator[str]:
    """Yield what of an argument may be a name: a path, its last part, and every value that holds a blank.

    A single plain word (`data` of `data.mkv`) is left: tools use it too. Written as `Exit.tail` has it: without control
    characters, a carriage return as a line's end.
    """
    word = _CONTROL.sub("", word.replace("\r\n", "\n").replace("\r", "\n"))
    for part in {word, word.partition("=")[2], word.removeprefix("file:"), word.removeprefix("=")}:
        if "/" in part:
            yield part
        name = part.rpartition("/")[2]
        if "/" in part and "." in name.strip("."):
            yield name
        yield from (text for text in {part, name, name.rpartition(".")[0]} if " " in text.strip())


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
    """The end of one stage.

    `code` is the exit code, or None when `signal` ended it; `tail` the last of its standard error and
    `output` of its standard output, both decoded, redacted and bounded; `seconds` wall time;
    `cpu_seconds` user and system time, 0.0 where the kernel does not say.
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
    def complaint(self) -> str:
        """Return `tail` without the job's own names: the text that classifies the failure."""
        return self.command.without_names(self.tail)

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
