"""What looks at a fleet from outside: the checks of `doctor`, and `reconcile`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from worker.adapters import checks as look
from worker.adapters import host
from worker.app.parts import TOOLS, capabilities, publisher, refuse_shared_sqlite, repository, runner
from worker.app.places import roots, storages
from worker.core.routing import topology
from worker.engine.reconcile import Reconciler
from worker.engine.scratch import Scratch

if TYPE_CHECKING:
    from worker.core.finding import Check, Finding
    from worker.core.ports import Repository
    from worker.settings import Settings


def checks(settings: Settings, *, prove: bool = False) -> list[tuple[str, Check]]:
    """Return what `doctor` looks at, in order; nothing is touched before a check is awaited."""
    needed = ("ffmpeg", "ffprobe", *(("gource",) if "visualize" in settings.lanes else ()))
    folders = [place for place in roots(settings) if place.scheme == "file"]
    return [
        ("database", lambda: _look_at_database(settings)),
        ("clock", lambda: look.clock(repository(settings))),
        ("broker", lambda: look.broker(publisher(settings), topology(settings.retry_delays).queues)),
        ("broker time-out", lambda: look.patience(publisher(settings), settings.job_seconds)),
        *((f"root {place.path}", partial(look.folder, Path(place.path))) for place in folders),
        ("storage", lambda: look.storage(storages(settings), settings.storage_url)),
        ("scratch", lambda: look.scratch(settings.scratch, settings.scratch_free_bytes)),
        *((name, partial(_look_at_tool, settings, name, required=name in needed)) for name in TOOLS),
        ("capabilities", lambda: look.capabilities(capabilities(settings, again=prove), settings.lanes)),
        ("lanes", lambda: look.lanes(repository(settings), settings.offline_seconds)),
    ]


async def _look_at_database(settings: Settings) -> Finding:
    refuse_shared_sqlite(settings)
    return await look.database(repository(settings))


async def _look_at_tool(settings: Settings, name: str, *, required: bool) -> Finding:
    """Return what is known of one program: a wrong setting of it hides nothing else."""
    found = host.find_tools({name: getattr(settings, name)}, host.bundled_tools())
    return await look.tool(name, found.get(name), runner(settings), required=required)


def reconciler(settings: Settings, rows: Repository, *, seconds: float, mend: bool) -> Reconciler:
    """Return what compares database, broker and storage; `seconds` are how long a job may be overdue."""
    return Reconciler(
        rows,
        storages(settings),
        Scratch(settings.scratch),
        topology(settings.retry_delays),
        seconds=seconds,
        mend=mend,
    )
