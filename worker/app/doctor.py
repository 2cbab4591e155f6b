"""The checks of `doctor`, and `reconcile`."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import worker
from worker.adapters import host
from worker.adapters.checks import machine, records, services
from worker.app.components import TOOLS, capabilities, refuse_shared_sqlite, runner
from worker.app.control import broker, refuse_missing_sqlite, repository
from worker.app.places import roots, storages
from worker.core.errors import Misconfigured
from worker.core.topology import topology
from worker.engine.host.scratch import Scratch
from worker.engine.reconcile import Reconciler
from worker.settings.serve import address_of, is_loopback, token_count

if TYPE_CHECKING:
    from worker.core.finding import Check, Finding
    from worker.core.ports import Repository
    from worker.settings import Settings


def checks(settings: Settings, *, prove: bool = False) -> list[tuple[str, Check]]:
    """Return what `doctor` looks at, in order; nothing is touched before a check is awaited."""
    needed = ("ffmpeg", "ffprobe", *(("gource",) if "visualize" in settings.lanes else ()))
    folders = {Path(place.path): name for place, name in roots(settings).items() if place.scheme == "file"}
    return [
        ("database", lambda: _look_at_database(settings)),
        ("clock", lambda: services.clock(_rows(settings))),
        ("broker", lambda: services.broker(broker(settings), topology(settings.retry_delays))),
        ("fleet", lambda: services.fleet(broker(settings), _rows(settings))),
        (
            "broker time-out",
            lambda: services.broker_timeout(broker(settings), settings.broker_timeout_seconds, settings.job_seconds),
        ),
        *(() if settings.nas_root else (("nas", machine.no_nas),)),
        *(_look_at_folder(settings, folder, name) for folder, name in folders.items()),
        ("storage", lambda: services.storage(storages(settings), settings.storage_url)),
        ("scratch", lambda: machine.scratch(settings.scratch, settings.scratch_free_bytes)),
        *((name, partial(_look_at_tool, settings, name, required=name in needed)) for name in TOOLS),
        ("capabilities", lambda: machine.capabilities(capabilities(settings, again=prove), settings.lanes)),
        ("page", lambda: _look_at_page(settings)),
        ("workers", lambda: records.workers(_rows(settings), settings.offline_seconds)),
        ("lanes", lambda: records.lanes(_rows(settings), settings.offline_seconds)),
        ("folders", lambda: records.folders(_rows(settings))),
        ("notifications", lambda: records.notifications(_rows(settings))),
        ("undo", lambda: records.originals(_rows(settings), settings.undo_bytes)),
    ]


async def _look_at_page(settings: Settings) -> Finding:
    try:
        tokens = await asyncio.to_thread(token_count, settings)
    except OSError as error:
        raise Misconfigured(f"WORKER_SERVE_TOKENS_FILE {settings.serve_tokens_file}: {error.strerror}") from error
    return await machine.page(
        settings.serve_address,
        alone=is_loopback(address_of(settings.serve_address)[0]),
        tokens=tokens,
        players=Path(worker.__file__).parent / "web" / "static" / "vendor",
    )


def _look_at_folder(settings: Settings, folder: Path, setting: str) -> tuple[str, Check]:
    """Return the look at one folder, under the name of the setting that says it."""
    if settings.nas_root is not None and folder == settings.nas_root.absolute():
        return f"nas {folder}", partial(machine.folder, folder, "WORKER_NAS_ROOT")
    return f"root {folder}", partial(machine.folder, folder, setting)


async def _look_at_database(settings: Settings) -> Finding:
    refuse_shared_sqlite(settings)
    return await services.database(_rows(settings))


def _rows(settings: Settings) -> Repository:
    """Return the database; Misconfigured where a look would make its file."""
    refuse_missing_sqlite(settings)
    return repository(settings)


async def _look_at_tool(settings: Settings, name: str, *, required: bool) -> Finding:
    """Return what is known of one program: a wrong setting of it hides nothing else."""
    found = host.find_tools({name: getattr(settings, name)}, host.bundled_tools())
    return await machine.tool(name, found.get(name), runner(settings), required=required)


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
