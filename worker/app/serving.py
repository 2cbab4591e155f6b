"""The parts of the page and the API that need nothing but settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from worker.adapters.kept import KeptBroker
from worker.adapters.notifying import NotificationSender, check_address
from worker.adapters.sql.views import SqlViews
from worker.adapters.storage.nas.reading import NasReader
from worker.adapters.storage.nas.uploads import NasUploads
from worker.app.places import roots

if TYPE_CHECKING:
    from worker.adapters.rabbitmq.admin import RabbitAdmin
    from worker.control.undo import Originals
    from worker.core.location import External
    from worker.core.ports import Repository
    from worker.core.ports.files import FileReader, MultipartStore, UploadStore
    from worker.core.ports.folders import FolderFiles
    from worker.core.ports.notifications import Sender
    from worker.core.ports.views import Views
    from worker.engine.attempt.rehearsal import Rehearsals
    from worker.settings import Settings

__all__ = [
    "check_address",
    "folder_files",
    "kept_broker",
    "kept_files",
    "readers",
    "rehearsals",
    "sender",
    "uploads",
    "views",
]


def kept_broker(settings: Settings) -> KeptBroker:
    """Return the connection to the broker that submissions share."""

    def connect() -> RabbitAdmin:
        # 2 MB and a tenth of a second that a start does not need.
        from worker.adapters.rabbitmq.admin import RabbitAdmin  # noqa: PLC0415

        return RabbitAdmin(settings.broker_url.get_secret_value())

    return KeptBroker(connect)


def views(settings: Settings) -> Views:
    """Return the page's own questions to the database."""
    return SqlViews(settings.database_url.get_secret_value())


def readers(settings: Settings) -> tuple[FileReader, ...]:
    """Return what reads the files that jobs may touch."""
    places = roots(settings)
    folders = tuple(Path(place.path) for place in places if place.scheme == "file")
    buckets = _buckets(settings)
    nas = NasReader(settings.nas_root.absolute() if settings.nas_root else None, folders)
    if not buckets:
        return (nas,)
    # boto3 takes 30 MB of memory and a third of a second to import: only who uses S3 pays for it.
    from worker.adapters.storage.s3.reading import S3Reader  # noqa: PLC0415

    return nas, S3Reader(buckets)


def rehearsals(settings: Settings, rows: Repository) -> Rehearsals:
    """Return what finds out which commands a job would run, with the programs and files of this host."""
    # It plans as a worker does, for which it takes much of the engine.
    from worker.app.components import runner, tools  # noqa: PLC0415
    from worker.app.places import storages  # noqa: PLC0415
    from worker.engine.attempt.rehearsal import Rehearsals  # noqa: PLC0415

    places = storages(settings)
    return Rehearsals(rows, runner(settings), tools(settings), places, settings.storage_url, settings.scratch / "look")


def uploads(settings: Settings) -> tuple[UploadStore | None, MultipartStore | None]:
    """Return what takes uploads to the NAS, and what to the first bucket; None where there is none."""
    nas: UploadStore | None = None
    if settings.nas_root is not None:
        nas = NasUploads(
            settings.nas_root.absolute(),
            settings.upload_folder,
            most_bytes=settings.upload_bytes,
            seconds=settings.upload_hours * 3600,
        )
    if not (buckets := _buckets(settings)):
        return nas, None
    from worker.adapters.storage.s3.uploads import S3Uploads  # noqa: PLC0415 - as above

    return nas, S3Uploads(buckets[0], settings.upload_folder, most_bytes=settings.upload_bytes)


def kept_files(settings: Settings) -> Originals:
    """Return the files that `undo` puts back."""
    # It looks at every storage: only who undoes something pays for it.
    from worker.app.undoing import KeptFiles  # noqa: PLC0415

    return KeptFiles.of(settings)


def folder_files(settings: Settings, stores: Repository) -> FolderFiles:
    """Return what is done with the files of watched folders."""
    # As above.
    from worker.app.folder_files import WatchedFiles  # noqa: PLC0415

    return WatchedFiles.of(settings, stores)


def sender(settings: Settings) -> Sender:
    """Return what sends notifications."""
    return NotificationSender(allow_private=settings.allow_private_addresses)


def _buckets(settings: Settings) -> tuple[External, ...]:
    return tuple(place for place in roots(settings) if place.scheme == "s3")
