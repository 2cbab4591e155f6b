"""Watched folders at work: look, wait until a file is still, and let it be taken.

Nothing here decides by what it remembers. Files are rows, the folder is a row with a lease, and a job's id follows from
the template and the content of its source: whoever looks at the same file makes the same job, however often one of them
is killed. A look that fails concludes nothing: a mount that is away is not an empty folder.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from worker.control.errors import Refused
from worker.control.intake.taking import FileTaker
from worker.core.errors import LeveretError
from worker.core.folder import Sighting, is_sidecar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.control.resources import Control
    from worker.core.folder import Folder, StoredFolder
    from worker.core.location import External
    from worker.core.ports.files import Found
    from worker.core.ports.folders import FolderFiles, FolderStore

LEASE_SECONDS: Final = 30.0
"""A folder is another server's after so long a silence of the one that looked at it."""
LIST_SECONDS: Final = 1.0
NOTE_SECONDS: Final = 15.0
AT_ONCE: Final = 20
TURN_SECONDS: Final = 0.5

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class FolderWatcher:
    """Looks at every folder whose turn is this server's."""

    control: Control
    files: FolderFiles
    owner: str
    _watching: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def run(self) -> None:
        """Go on for ever; a folder that is stored is looked at within a second."""
        # The first film does not wait until every plug-in is loaded.
        with suppress(LeveretError):
            await asyncio.to_thread(self.control.modules)
        try:
            while True:
                try:
                    names = {one.name for one in await self.control.stores.folders()}
                except LeveretError as error:
                    log.warning("folders_postponed", error=str(error))
                else:
                    for name in names - self._watching.keys():
                        watch = OneFolder(self.control, self.files, self.owner, name)
                        self._watching[name] = asyncio.create_task(watch.run(), name=f"folder {name}")
                self._watching = {name: task for name, task in self._watching.items() if not task.done()}
                await asyncio.sleep(LIST_SECONDS)
        finally:
            for task in self._watching.values():
                task.cancel()
            await asyncio.gather(*self._watching.values(), return_exceptions=True)


@dataclass(slots=True)
class OneFolder:
    """One folder, looked at again and again."""

    control: Control
    files: FolderFiles
    owner: str
    name: str
    _turn_at: float = 0.0
    _lease_at: float = 0.0
    _noted: tuple[int | None, str | None, float] = (None, None, float("-inf"))

    @property
    def _stores(self) -> FolderStore:
        return self.control.stores

    async def run(self) -> None:
        """Look until the folder is deleted; what fails is said in its row, and tried again."""
        while True:
            seconds: float | None = LIST_SECONDS
            try:
                seconds = await self.round()
            except LeveretError as error:
                log.warning("folder_postponed", folder=self.name, error=str(error))
            if seconds is None:
                return
            await asyncio.sleep(seconds)

    async def round(self) -> float | None:
        """Look once; return the seconds until the next look, None when there is no such folder."""
        stored = await self._stores.folder(self.name)
        if stored is None:
            return None
        if stored.paused or not await self._hold_lease():
            return LIST_SECONDS
        began = time.monotonic()
        problem: str | None = None
        count: int | None = None
        took = 0.0
        try:
            count = await self.look(stored.folder)
            # What is submitted now takes its time, and makes the next look no later.
            took = time.monotonic() - began
            await self._turn(stored.folder)
        except LeveretError as error:
            problem = str(error)
        await self._note(count, problem)
        if problem and problem != stored.problem:
            log.warning("folder_not_read", folder=self.name, error=problem)
        return await self._wait(stored, stored.folder.looks_every(took))

    async def _wait(self, stored: StoredFolder, seconds: float) -> float:
        """Let pass what lies between two looks, taking what settles meanwhile; return what is left of it."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            due = await self._stores.seconds_to_settle(self.name, stored.folder.settle_seconds)
            if due is None or due > left:
                # A paused or deleted folder, and another lease, are seen again within a second.
                if left <= LIST_SECONDS:
                    return left
                await asyncio.sleep(LIST_SECONDS)
            else:
                await asyncio.sleep(max(due, 0.05))
            current = await self._stores.folder(self.name)
            if current is None or current.paused or current.document != stored.document:
                return 0.0
            if not await self._hold_lease():
                return LIST_SECONDS
            try:
                taken = await self._turn(stored.folder)
            except LeveretError as error:
                await self._note(None, str(error))
                taken = 0
            if due == 0.0 and not taken:
                # There is no room, or something is away: it is tried again, but not at once.
                await asyncio.sleep(min(LIST_SECONDS, max(0.0, until - time.monotonic())))
        return 0.0

    async def _note(self, count: int | None, problem: str | None) -> None:
        """Say in the folder's row how the look went: when that changed, and now and then."""
        before = self._noted
        now = time.monotonic()
        if (count, problem) != before[:2] or now - before[2] > NOTE_SECONDS:
            await self._stores.folder_scanned(self.name, self.owner, count, problem)
            self._noted = (count, problem, now)

    async def _hold_lease(self) -> bool:
        """Return whether the folder is ours; the lease is renewed long before its end."""
        if time.monotonic() < self._lease_at:
            return True
        mine = await self._stores.claim_folder(self.name, self.owner, LEASE_SECONDS)
        self._lease_at = time.monotonic() + LEASE_SECONDS / 5 if mine else 0.0
        return mine

    # ------------------------------------------------------------------ looking

    async def look(self, folder: Folder) -> int:
        """Return how many files there are; each batch is noted before the next is read."""
        place = await self.files.admit(folder.place)
        count = 0
        self._turn_at = time.monotonic() + TURN_SECONDS
        async for batch in self.control.library().walk(place):
            if not await self._hold_lease():
                raise Refused("another server scans this folder now")
            wanted = _sightings(folder, place, batch)
            count += len(wanted)
            if wanted:
                await self._stores.note_sightings(self.name, wanted)
            if time.monotonic() > self._turn_at:
                # In a folder of a million files nobody waits for the end of a look.
                self._turn_at = time.monotonic() + TURN_SECONDS
                await self._stores.folder_scanned(self.name, self.owner, count, None, done=False)
                await self._turn(folder)
        return count

    # ------------------------------------------------------------------ taking

    async def _turn(self, folder: Folder) -> int:
        """Submit what has settled, as far as there is room, and clean up after jobs that are done; return how many."""
        taker = FileTaker(self.control, self.files, self.name)
        count = 0
        if folder.afterwards != "leave":
            for file in await self._stores.finished_files(self.name, AT_ONCE):
                await taker.finish(folder, file)
                count += 1
        if await self._stores.seconds_to_settle(self.name, folder.settle_seconds) != 0.0:
            return count
        room = folder.most_waiting - await self._stores.waiting_jobs(self.name)
        for file in await self._stores.settled(self.name, folder.settle_seconds, min(AT_ONCE, max(0, room))):
            if not await self._hold_lease():
                break
            await taker.take(folder, file)
            count += 1
        return count


def _sightings(folder: Folder, place: External, batch: Sequence[Found]) -> list[Sighting]:
    """Return the films and the sidecars in a batch, by their paths below the folder."""
    start = len(place.path.rstrip("/")) + 1
    wanted = []
    for found in batch:
        path = found.place.path[start:]
        below_move_to = bool(folder.move_to) and str(found.place).startswith(folder.move_to)
        if not below_move_to and (is_sidecar(path) or folder.takes(path)):
            wanted.append(Sighting(path=path, bytes=found.bytes, version=found.version))
    return wanted
