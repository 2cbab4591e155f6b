"""Originals that are too old, or too much, go; none before what took its place was read once as a whole."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from worker.core.errors import LeveretError, StorageUnavailable
from worker.engine.attempt.originals import drop_useless, token_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.core.ports import Repository
    from worker.core.ports.files import FileReader
    from worker.core.ports.originals import Original
    from worker.engine.storages import Storages

ROUND_SECONDS: Final = 600.0
LEASE_SECONDS: Final = 6 * 3600.0
"""The lease of one worker on one original: it may have to read a large file over a slow network."""
LEFT_SECONDS: Final = 600.0
_ROOM: Final = 100

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Purger:
    """Deletes kept originals after `seconds`, the oldest before that while there are more than `most_bytes` of all."""

    repository: Repository
    storages: Storages
    readers: Mapping[str, FileReader]
    seconds: float
    most_bytes: int

    async def run(self) -> None:
        """Purge now and then, for ever; what fails is tried at the next time."""
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            try:
                await self.purge()
            except LeveretError as error:
                log.warning("purge_postponed", error=str(error))

    async def purge(self) -> int:
        """Return how many originals were deleted."""
        await self._settle_planned()
        count = 0
        for _ in range(_ROOM):
            original = await self.repository.claim_purge(self.seconds, self.most_bytes, LEASE_SECONDS)
            if original is None:
                break
            if await self._is_proved(original):
                place = self.storages.place(original.uri)
                await self.storages.keepers[place.scheme].drop(place, token_of(original.job_id, original.uri))
                await self.repository.set_original(original.job_id, original.uri, "purged")
                log.info("original_purged", job_id=original.job_id, uri=original.uri, bytes=original.bytes)
                count += 1
        return count

    async def _settle_planned(self) -> None:
        """Decide on what killed workers noted and never went on with."""
        for original in await self.repository.settle_planned(LEFT_SECONDS):
            keeper = self.storages.keepers.get(self.storages.place(original.uri).scheme)
            if keeper is not None:
                useless = await drop_useless(keeper, self.storages, original)
                await self.repository.set_original(original.job_id, original.uri, "purged" if useless else "kept")

    async def _is_proved(self, original: Original) -> bool:
        """Return whether what took the original's place is whole; why not is noted, and looked at again in a day."""
        if original.proved:
            return True
        try:
            for uri, size, digest in await self._successors(original):
                await self._read_whole(uri, size, digest)
        except LeveretError as error:
            problem = f"it stays, for what took its place cannot be read as it was made: {error}"
            await self.repository.prove_original(original.job_id, original.uri, problem)
            log.warning("original_not_purged", job_id=original.job_id, uri=original.uri, error=str(error))
            return False
        await self.repository.prove_original(original.job_id, original.uri)
        return True

    async def _successors(self, original: Original) -> list[tuple[str, int, str]]:
        """Return the files that must be whole: what replaced it, else all that its job made."""
        if original.new_sha256 is not None:
            return [(original.uri, original.new_bytes or 0, original.new_sha256)]
        record = await self.repository.job(original.job_id)
        made = record.artifacts if record is not None else []
        return [(one.uri, one.bytes, one.sha256) for one in made if one.role != "log"]

    async def _read_whole(self, uri: str, size: int, digest: str) -> None:
        place = self.storages.place(uri)
        reader = self.readers.get(place.scheme)
        if reader is None:
            raise StorageUnavailable(f"{uri}: {place.scheme}:// cannot be read here")
        file = await reader.open(place)
        try:
            if file.size != size:
                raise StorageUnavailable(f"{uri} has {file.size} bytes, and was made with {size}")
            sha256 = hashlib.sha256()
            async for piece in file.read(0, size):
                await asyncio.to_thread(sha256.update, piece)
        finally:
            await file.close()
        if sha256.hexdigest() != digest:
            raise StorageUnavailable(f"{uri} holds other bytes than were made")
