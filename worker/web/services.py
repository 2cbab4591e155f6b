"""The services that requests use, made once a process."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

import structlog

from worker.app import serving
from worker.app.control import assembled, refuse_missing_sqlite, repository
from worker.control.fleet import queue_depths
from worker.control.intake.notifications import Notifier
from worker.control.intake.scans import run_waiting
from worker.control.intake.schedules import run_due
from worker.control.intake.watching import FolderWatcher
from worker.core.errors import DatabaseUnavailable, LeveretError, RefusedPath
from worker.core.location import External, parse_location
from worker.web.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from worker.control import Control
    from worker.control.undo import Originals
    from worker.core.finding import Check
    from worker.core.notification import Notification
    from worker.core.ports import Repository
    from worker.core.ports.files import FileReader, MultipartStore, UploadStore
    from worker.core.ports.folders import FolderFiles
    from worker.core.ports.notifications import Sender
    from worker.core.ports.views import Views
    from worker.core.views import Disagreement
    from worker.engine.attempt.rehearsal import Rehearsals
    from worker.registry import Registry
    from worker.settings import Settings

log = structlog.get_logger(__name__)

SAMPLE_SECONDS: Final = 30.0
SAMPLES_KEPT_SECONDS: Final = 86400.0
SCHEDULE_SECONDS: Final = 5.0
SCAN_SECONDS: Final = 1.0
SCANS_AT_ONCE: Final = 2
SWEEP_SECONDS: Final = 3600.0
INTAKE_KEPT_SECONDS: Final = 90 * 86400.0
"""Seconds that a call of a hook is kept, and what was read of a file that nobody reads again."""
DEPTHS_SECONDS: Final = 5.0
DEPTHS_OLD_SECONDS: Final = 60.0
DEPTHS_WAIT_SECONDS: Final = 2.0


class Depths:
    """The number of messages in each queue, asked of the broker now and then while somebody looks.

    Nobody waits for a slow broker: what was known a moment ago is shown, and a broker that has not answered for long
    is said to be away.
    """

    def __init__(self, ask: Callable[[], Awaitable[dict[str, int]]]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[dict[str, int]] | None = None
        self._known: dict[str, int] = {}
        self._problem = ""
        self._at = float("-inf")

    async def now(self) -> tuple[dict[str, int], str]:
        """Return the depths by queue and no problem, or nothing and why."""
        if time.monotonic() - self._at > DEPTHS_SECONDS and self._asking is None:
            self._asking = asyncio.create_task(self._count_queues(), name="depths")
            self._asking.add_done_callback(self._keep_answer)
        if time.monotonic() - self._at > DEPTHS_OLD_SECONDS and self._asking is not None:
            await asyncio.wait({self._asking}, timeout=DEPTHS_WAIT_SECONDS)
        if time.monotonic() - self._at > DEPTHS_OLD_SECONDS:
            return {}, "the broker has not answered yet"
        return self._known, self._problem

    async def _count_queues(self) -> dict[str, int]:
        return await self._ask()

    def _keep_answer(self, task: asyncio.Task[dict[str, int]]) -> None:
        self._asking = None
        if task.cancelled():
            return
        error = task.exception()
        self._at = time.monotonic()
        self._known, self._problem = ({}, str(error)) if error else (task.result(), "")

    async def close(self) -> None:
        """Ask nothing any more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)


@dataclass
class Services:
    """The database, the broker, the files, and the settings that say what may be done with them."""

    settings: Settings
    control: Control
    views: Views
    pulse: Pulse
    readers: Mapping[str, FileReader] = field(default_factory=dict)
    uploads: UploadStore | None = None
    multipart: MultipartStore | None = None
    checks: Callable[[], Sequence[tuple[str, Check]]] = field(default=lambda: ())
    followers: int = 0
    """The number of clients that follow a log: each reads it anew every second."""
    ahead_seconds: float = 0.0
    """The seconds by which the database's clock, which all records follow, is ahead of this host's."""
    streaming: int = 0
    """The number of answers that come line by line, while their work goes on."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    """The work behind them."""
    judging: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a message is judged, which takes a processor for up to a second."""
    rehearsing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a job is rehearsed: tools look at its sources, on the host of the server."""

    @property
    def now(self) -> datetime:
        """Return the time by the database's clock."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead_seconds)

    async def sample(self) -> None:
        """Write down what the hosts measured, and compare this host's clock with the database's."""
        self.ahead_seconds = (await self.control.stores.facts()).ahead_seconds
        await self.views.sample(SAMPLES_KEPT_SECONDS)

    async def reconcile(self, seconds: float, *, mend: bool) -> list[Disagreement]:
        """Return what database, broker and storage do not agree on; with `mend` it is put right."""
        # It reaches into every storage: what is needed so seldom is not imported before.
        from worker.app.doctor import reconciler  # noqa: PLC0415

        async with self.control.broker() as broker:
            return await reconciler(self.settings, self.control.stores, seconds=seconds, mend=mend).run(broker)

    @cached_property
    def depths(self) -> Depths:
        """Return what knows the queues' lengths."""

        async def ask() -> dict[str, int]:
            async with self.control.broker() as broker:
                return await queue_depths(broker)

        return Depths(ask)

    @cached_property
    def folder_files(self) -> FolderFiles:
        """Return what is done with the files of watched folders."""
        return serving.folder_files(self.settings, self.control.stores)

    @cached_property
    def sender(self) -> Sender:
        """Return what sends notifications."""
        return serving.sender(self.settings)

    def check_address(self, notification: Notification) -> None:
        """Return if something could be sent to this address; InvalidJob otherwise."""
        serving.check_address(notification)

    @cached_property
    def originals(self) -> Originals:
        """Return the files that `undo` puts back."""
        return serving.kept_files(self.settings)

    @cached_property
    def rehearsals(self) -> Rehearsals:
        """Return what finds out which commands a job would run."""
        return serving.rehearsals(self.settings, self.control.stores)

    @cached_property
    def registry(self) -> Registry:
        """Return the installed modules, loaded when they are first asked for."""
        return self.control.modules()

    def reader(self, place: External) -> FileReader:
        """Return who reads the files of a place; RefusedPath when nobody here does."""
        found = self.readers.get(place.scheme)
        if found is None:
            raise RefusedPath(f"{place}: {place.scheme}:// is not set up on this server")
        return found

    def place(self, uri: str) -> External:
        """Return the place that a URI names, a publisher's mount points translated."""
        place = parse_location(uri, self.settings.path_map)
        if not isinstance(place, External) or place.scheme not in {"file", "nas", "s3"}:
            raise RefusedPath(f"{uri[:200]!r} names no file that this server can show")
        return place


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Yield the services, with the chores that go on beside them; all of it is closed afterwards."""
    async with AsyncExitStack() as stack:
        refuse_missing_sqlite(settings)
        stores = repository(settings)
        stack.push_async_callback(stores.close)
        try:
            await stores.check()
        except DatabaseUnavailable as error:
            # The page shows the problem, and recovers without a restart.
            log.warning("database_unavailable", error=str(error))
        kept = serving.kept_broker(settings)
        stack.push_async_callback(kept.close)
        control = replace(assembled(settings, stores), publisher=kept.lend)
        views = serving.views(settings)
        stack.push_async_callback(views.close)
        pulse = Pulse(views.changes)
        stack.push_async_callback(pulse.close)
        uploads, multipart = serving.uploads(settings)
        services = Services(
            settings,
            control,
            views,
            pulse,
            {scheme: reader for reader in serving.readers(settings) for scheme in reader.schemes},
            uploads,
            multipart,
            partial(_checks, settings),
        )
        stack.push_async_callback(services.depths.close)
        chores = [
            asyncio.create_task(_repeat(SAMPLE_SECONDS, services.sample), name="samples"),
            asyncio.create_task(_repeat(SWEEP_SECONDS, lambda: _sweep(services)), name="sweep"),
            asyncio.create_task(_repeat(SWEEP_SECONDS, partial(forget_old_intake, stores)), name="old intake"),
        ]
        owner = server_name(settings)
        chores.append(asyncio.create_task(_repeat(SCHEDULE_SECONDS, lambda: run_due(control, owner)), name="schedules"))
        chores += [
            asyncio.create_task(
                _repeat(SCAN_SECONDS, partial(run_waiting, control, f"{owner} {number}")), name=f"scans {number}"
            )
            for number in range(SCANS_AT_ONCE)
        ]
        notifier = Notifier(stores, services.sender, server_name(settings))
        watcher = FolderWatcher(control, services.folder_files, server_name(settings))
        chores += [
            asyncio.create_task(notifier.run(), name="notifications"),
            asyncio.create_task(watcher.run(), name="folders"),
        ]
        try:
            yield services
        finally:
            going_on = [*chores, *services.tasks]
            for task in going_on:
                task.cancel()
            await asyncio.gather(*going_on, return_exceptions=True)


def server_name(settings: Settings) -> str:
    """Return a name that no other server has, for what only one of them does at a time."""
    return f"{settings.hostname} {os.getpid()} {secrets.token_hex(4)}"


def _checks(settings: Settings) -> Sequence[tuple[str, Check]]:
    # It looks at every tool and every storage: what the page needs of it seldom is not imported before.
    from worker.app.doctor import checks  # noqa: PLC0415

    return checks(settings)


async def _repeat(seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    """Do `work` now and then, for ever; what fails is tried at the next time."""
    while True:
        try:
            await work()
        except LeveretError as error:
            log.warning("chore_failed", error=str(error))
        await asyncio.sleep(seconds)


async def _sweep(services: Services) -> None:
    """Remove uploads that nobody continued."""
    seconds = services.settings.upload_hours * 3600
    removed = await services.uploads.sweep() if services.uploads else 0
    removed += await services.multipart.sweep(seconds) if services.multipart else 0
    if removed:
        log.info("uploads_swept", removed=removed)


async def forget_old_intake(stores: Repository) -> None:
    """Delete old calls of hooks, and what is known of sources that nobody has read for long.

    The jobs that they made stay: a call or a file that comes again makes no second one.
    """
    await stores.forget_calls(INTAKE_KEPT_SECONDS)
    await stores.forget_sources(INTAKE_KEPT_SECONDS)
