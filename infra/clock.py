"""Gource's virtual clock, built where the visualizer looks for it; a worker proves it before it is used."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from visualizers.clock import built_library
from visualizers.virtual_clock import build_command
from worker.core.errors import ToolFailed, ToolMissing


def build_clock(library: Path | None = None) -> Path:
    """Return the library, built unless it is there. ToolMissing without a C compiler, ToolFailed when it fails."""
    target = library or built_library()
    if target.exists():
        return target
    # Two set-ups may build at once: each in a folder of its own, and a rename is whole or not at all.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".clock-") as folder:
        part = Path(folder) / target.name
        try:
            done = subprocess.run(build_command(part), check=False, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise ToolMissing("there is no C compiler: install gcc and libc6-dev") from error
        if done.returncode:
            raise ToolFailed(f"the virtual clock could not be built: {done.stderr.strip().splitlines()[-1]}")
        part.replace(target)
    return target
