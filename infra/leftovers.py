"""Files that stay when the private services and their data are removed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from worker.core import default_places

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PASSING = frozenset({"lock", "state.json", "setup.lock", "setup.log"})


def leftovers(state: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for what is still in the state folder, and one for each place outside of it that has something."""
    names = sorted(item.name for item in state.iterdir() if item.name not in PASSING) if state.is_dir() else []
    if names:
        yield f"left in {state}: {', '.join(names)}"
    outside = {
        "the database": str(default_places.database_path(environment)),
        "outputs": urlsplit(default_places.storage_url(environment)).path,
        "scratch": str(Path(environment.get("WORKER_SCRATCH") or Path(tempfile.gettempdir()) / "leveret")),
    }
    for what, place in outside.items():
        path = Path(place)
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            yield f"left: {what} of workers without settings, {path}" if what != "scratch" else f"left: scratch, {path}"
