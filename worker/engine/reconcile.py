"""The database, the broker and the storages compared after a failure; what does not agree is shown, or repaired."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.core.errors import LeveretError
from worker.core.routing import DEAD_QUEUE, DEATHS, JOBS, queue_of
from worker.core.views import Disagreement
from worker.engine.attempt.leftovers import delete_requested, is_of_an_attempt, remove_leftovers

if TYPE_CHECKING:
    from worker.core.ports import Announced, BrokerAdmin, Overdue, Repository
    from worker.core.topology import Topology
    from worker.engine.host.scratch import Scratch
    from worker.engine.storages import Storages

LOST: Final = "job without a message"
DELETIONS: Final = "deletion that is due"
ORPHANS: Final = "orphaned upload"
SCRATCH: Final = "left scratch"


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Compares, and with `mend` puts right.

    A job counts as lost when it is overdue by `seconds` and neither its queue nor any delay queue holds a message that
    could be its own. Looking into a queue would count as a delivery of each message on RabbitMQ before 4.0, so of a
    queue that is not empty only the count is compared.
    """

    repository: Repository
    storages: Storages
    scratch: Scratch
    topology: Topology
    seconds: float
    mend: bool
    found: list[Disagreement] = field(default_factory=list)

    async def run(self, broker: BrokerAdmin) -> list[Disagreement]:
        """Return all that does not agree, mended or not."""
        await self._messages(broker)
        await self._deletions()
        await self._uploads()
        await self._scratch()
        return self.found

    def _note(self, kind: str, job_id: str, fact: str, done: str = "") -> None:
        self.found.append(Disagreement(kind=kind, job_id=job_id, fact=fact, done=done))

    # ------------------------------------------------------------------ jobs and messages

    async def _messages(self, broker: BrokerAdmin) -> None:
        first = {item.job_id for item in await self.repository.overdue(self.seconds)}
        waiting = await self._waiting(broker)
        # Asked again afterwards: a job that went on while we looked is not lost.
        overdue: dict[str, list[Overdue]] = {}
        for item in await self.repository.overdue(self.seconds):
            if item.job_id in first:
                overdue.setdefault(queue_of(item.lane, item.priority), []).append(item)
        delayed = sum(count for name, count in waiting.items() if name not in self._job_queues())
        for queue, items in sorted(overdue.items()):
            messages = waiting.get(queue, 0) + delayed
            if messages:
                self._compare(queue, len(items), messages)
                continue
            for item in items:
                done = await self._republish(broker, item) if self.mend else ""
                self._note(LOST, item.job_id, f"{item.state}; it should have gone on {item.seconds:.0f} s ago", done)

    def _compare(self, queue: str, jobs: int, messages: int) -> None:
        """Note what is known of a queue that holds messages: only that some are missing, and not whose."""
        if jobs > messages:
            fact = f"{jobs} jobs of {queue} are overdue, and {messages} messages wait: look again when it is empty"
            self._note(LOST, "", f"at least {jobs - messages}: {fact}")

    def _job_queues(self) -> frozenset[str]:
        return frozenset(binding.queue for binding in self.topology.bindings if binding.exchange == JOBS)

    async def _waiting(self, broker: BrokerAdmin) -> dict[str, int]:
        """Return how many messages wait in each queue that has some, the dead letters aside."""
        counts = {
            item.name: await broker.count(item.name)
            for item in self.topology.queues
            if item.name not in {DEAD_QUEUE, DEATHS}
        }
        return {name: count for name, count in counts.items() if count}

    async def _republish(self, broker: BrokerAdmin, item: Overdue) -> str:
        """Return what was done: the row is queued under the stored document, then that is published with confirm.

        A crash in between leaves a row without a message, which the next look finds.
        """
        record = await self.repository.job(item.job_id)
        if record is None or not record.document.get("tasks"):
            return "nothing: the database keeps no message of it"
        body = json.dumps(record.document | {"job_id": item.job_id}, ensure_ascii=False).encode()
        if not await self.repository.requeue(item.job_id, hashlib.sha256(body).hexdigest()):
            return "nothing: it went on by itself"
        await broker.publish_job(body, item.job_id, item.lane, item.priority, dialect="canonical")
        return "published again, from the database"

    # ------------------------------------------------------------------ what ended jobs left

    async def _deletions(self) -> None:
        for job_id, uris in (await self.repository.pending_deletions()).items():
            if self.mend:
                await delete_requested(self.repository, self.storages, job_id, uris)
            left = (await self.repository.pending_deletions()).get(job_id, ()) if self.mend else uris
            self._note(DELETIONS, job_id, ", ".join(uris), "deleted" if self.mend and not left else "")

    async def _uploads(self) -> None:
        for item in await self.repository.announced():
            uris = await self._unowned(item)
            if self.mend:
                removed = await remove_leftovers(self.storages, item.job_id, sorted(item.uris), item.result)
                for uri in uris:
                    self._note(
                        ORPHANS, item.job_id, uri, "deleted" if uri in removed else "kept: its manifest is there"
                    )
            else:
                for uri in uris:
                    self._note(ORPHANS, item.job_id, uri)

    async def _unowned(self, item: Announced) -> list[str]:
        """Return what is in own folders of attempts and belongs to no result."""
        found = []
        for uri in sorted(item.uris - (item.result or frozenset())):
            try:
                place = self.storages.place(uri)
                if is_of_an_attempt(uri) and await self.storages.serving(place).stat(place) is not None:
                    found.append(uri)
            except LeveretError as error:
                self._note(ORPHANS, item.job_id, f"{uri} cannot be looked at: {error}")
        return found

    async def _scratch(self) -> None:
        kept = {Path(folder).name for folder in await self.repository.kept_folders()}
        look = self.scratch.sweep if self.mend else self.scratch.unheld
        for name in await asyncio.to_thread(look, kept):
            path = self.scratch.root / name
            self._note(SCRATCH, name.rpartition(".")[0], str(path), "removed" if self.mend else "")
