"""The places that jobs may read and write."""

from __future__ import annotations

import asyncio
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from worker.adapters.storage.nas import NasStorage
from worker.adapters.storage.nas.originals import NasOriginals
from worker.core.errors import Misconfigured, ToolMissing
from worker.core.location import External, parse_location
from worker.engine.storages import Storages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from worker.core.ports import Observer, Storage
    from worker.core.ports.originals import OriginalKeeper
    from worker.engine.host.scratch import Scratch
    from worker.settings import Settings


def storages(settings: Settings, observer: Observer | None = None) -> Storages:
    """Return every place that jobs may read from or write to."""
    places = tuple(roots(settings))
    nas = parse_location(settings.storage_url)
    folder = None
    if isinstance(nas, External) and nas.scheme in {"file", "nas"}:
        folder = Path(nas.path) if nas.scheme == "file" else Path(str(settings.nas_root), nas.key)
    found: list[Storage] = [
        NasStorage(
            settings.nas_root,
            tuple(Path(place.path) for place in places if place.scheme == "file"),
            destination=folder,
            public_url=settings.public_url,
            settings={Path(place.path): name for place, name in roots(settings).items() if place.scheme == "file"},
        )
    ]
    if buckets := tuple(place for place in places if place.scheme == "s3"):
        found.append(_s3(settings, buckets))
    web = partial(_web, settings)
    keepers = originals(settings) if settings.undo_days > 0 else ()
    return Storages.of(found, settings.path_map, observer, {"https": web, "http": web}, keepers)


def originals(settings: Settings) -> tuple[OriginalKeeper, ...]:
    """Return what keeps, and puts back, the files that jobs replace or delete."""
    places = roots(settings)
    folders = tuple(Path(place.path) for place in places if place.scheme == "file")
    nas = NasOriginals(settings.nas_root.absolute() if settings.nas_root else None, folders)
    buckets = tuple(place for place in places if place.scheme == "s3")
    if not buckets:
        return (nas,)
    # As below.
    from worker.adapters.storage.s3.originals import S3Originals  # noqa: PLC0415

    return nas, S3Originals(buckets)


def _web(settings: Settings) -> Storage:
    # httpx takes 4 MB, with a command line of its own.
    from worker.adapters.storage.web import WebSource  # noqa: PLC0415

    return WebSource(allow_private=settings.allow_private_addresses)


def _s3(settings: Settings, roots: tuple[External, ...]) -> Storage:
    # boto3 takes 30 MB of memory and a third of a second to import: only who uses S3 pays for it.
    from worker.adapters.storage.s3 import S3Storage  # noqa: PLC0415

    destination = parse_location(settings.storage_url)
    inside = destination if isinstance(destination, External) and destination.scheme == "s3" else None
    lease = max(settings.lease_seconds, settings.publish_lease_seconds)
    return S3Storage(roots, destination=inside, public_url=settings.public_url, show_seconds=lease * 2 / 3)


def roots(settings: Settings) -> dict[External, str]:
    """Return what jobs may touch, and the setting that says so: the stated roots, the NAS root, the storage itself."""
    default = "" if "storage_url" in settings.model_fields_set else " (its default)"
    stated = [
        *((text, "WORKER_ROOTS") for text in settings.roots),
        (settings.storage_url, f"WORKER_STORAGE_URL{default}"),
        *([(str(settings.nas_root.absolute()), "WORKER_NAS_ROOT")] if settings.nas_root else []),
    ]
    places: dict[External, str] = {}
    for text, name in stated:
        place = parse_location(text)
        if not isinstance(place, External) or place.is_web:
            raise Misconfigured(f"{name}: {text!r} is no absolute folder and no s3://bucket/prefix")
        if place.scheme != "nas":
            places.setdefault(place, name)
    return places


def preflight(places: Storages, scratch: Scratch, programs: Mapping[str, str]) -> Callable[[], Awaitable[None]]:
    """Return what must hold before a job is taken: room, the programs of this host's start, every storage."""

    async def check() -> None:
        await asyncio.to_thread(scratch.check)
        await asyncio.to_thread(_check_programs, programs)
        await places.check()

    return check


def _check_programs(programs: Mapping[str, str]) -> None:
    """Return if each program is still there: an upgrade takes it away for a while, or for good."""
    for name, path in programs.items():
        if shutil.which(path) is None:
            raise ToolMissing(
                f"{path} is gone since this worker started: install {name} again, or let the worker find another one"
            )
