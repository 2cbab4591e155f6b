"""Signs of life of running tools, and proof that nothing of them is left."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ATTEMPT: Final = "LEVERET_ATTEMPT"
RUN: Final = "LEVERET_RUN"

# Figures that change while a tool does nothing.
_RESTLESS: Final = frozenset({"fps", "speed", "bitrate", "progress", "elapsed"})
# A process below these only waits: polling costs some CPU, and reporting progress writes some bytes.
_CPU_SHARE: Final = 0.01
_BYTES_PER_SECOND: Final = 16 * 1024


class Pulse:
    """The last sign of life of a pipeline: a new figure in its progress, CPU time, or bytes read or written.

    Bytes count because a copy from a slow share takes next to no CPU time and yet gets on.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = tuple(pids)
        self._figures: dict[str, str] = {}
        self._last = time.monotonic()
        self._cpu, self._bytes = self._usage()

    def line(self, text: str) -> None:
        """Take note of a line of progress; `key=value` counts when the value is new for that key."""
        key, separator, value = text.partition("=")
        key = key.strip() if separator else ""
        if key not in _RESTLESS and self._figures.get(key) != value:
            if len(self._figures) < 1000:  # noqa: PLR2004 - a tool that invents keys must not fill our memory
                self._figures[key] = value
            self._last = time.monotonic()

    def idle_seconds(self, fresh: float = 0.0) -> float:
        """Return for how long nothing got on.

        Only when the last sign of life is older than `fresh` seconds are the processes looked at, for which all of
        /proc is read.
        """
        now = time.monotonic()
        quiet = now - self._last
        if quiet < fresh:
            return quiet
        cpu, moved = self._usage()
        # less than before: a process of the group has ended, and its figures are no longer counted
        computed = not (self._cpu <= cpu <= self._cpu + _CPU_SHARE * quiet)
        copied = not (self._bytes <= moved <= self._bytes + _BYTES_PER_SECOND * quiet)
        if computed or copied:
            self._cpu, self._bytes, self._last = cpu, moved, now
        return now - self._last

    def _usage(self) -> tuple[float, int]:
        cpu, moved = 0.0, 0
        for process in _family(self._pids):
            with suppress(psutil.Error):
                times = process.cpu_times()
                cpu += times.user + times.system
            with suppress(psutil.Error, OSError, AttributeError):  # no io figures on some kernels
                counters = process.io_counters()
                moved += counters.read_chars + counters.write_chars
        return cpu, moved


def _family(pids: Iterable[int]) -> Iterator[psutil.Process]:
    for pid in pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            yield process
            yield from process.children(recursive=True)


def marked(variable: str) -> Iterator[tuple[int, str]]:
    """Yield (pid, value) of every living process of ours that was started with `variable` in its environment."""
    needle = variable.encode() + b"="
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):  # gone meanwhile, or another user's
            for item in (entry / "environ").read_bytes().split(b"\0"):
                if item.startswith(needle):
                    yield int(entry.name), item[len(needle) :].decode("utf-8", "replace")
                    break


def in_sessions(sessions: Iterable[int]) -> Iterator[int]:
    """Yield the pids of living processes whose session is one of `sessions`."""
    wanted = frozenset(sessions)
    for pid in psutil.pids():
        with suppress(OSError, psutil.Error):
            if os.getsid(pid) in wanted and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                yield pid


def kill_all(find: Callable[[], set[int]], seconds: float = 5.0) -> tuple[int, set[int]]:
    """Kill what `find` returns until it returns nothing; return how many there were, and what is left at the end.

    What is left sits in the kernel (a dead mount) and dies when that lets go. Blocking: run it in a thread.
    """
    deadline = time.monotonic() + seconds
    seen: set[int] = set()
    while True:
        left = find()
        if not left or time.monotonic() > deadline:
            return len(seen), left
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        seen |= left
        time.sleep(0.01)
