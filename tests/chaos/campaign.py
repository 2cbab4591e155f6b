"""A campaign: jobs published, faults injected from a seed, a quiet end, and the count."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.sql import SqlRepository
from worker.core.errors import BrokerUnavailable, DatabaseUnavailable, IdReused, Misconfigured
from worker.core.message.dialects import decode

from .faults import Fault, absent, deck
from .hostile import HostilePublisher, open_jobs
from .invariant import KINDS, Findings, examine, waiting
from .jobs import ALWAYS, HAS_GOURCE, PlannedJob, make_sources, plan
from .planted import found_in, of_jobs, of_services, unseen
from .published_files import PublishedFiles
from .readable import everything, listen
from .world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

T = TypeVar("T")
BACKLOG = 12
HEARTBEATS_SECONDS = 60.0
TIMED_OUT = "has timed out waiting"


@dataclass
class Campaign:
    """`count` jobs under faults drawn from `seed`; `seconds` bound the faults, `calm_seconds` the quiet end.

    With `kind` the jobs are of it, but for the few kinds that no campaign is without.
    """

    folder: Path
    count: int
    seed: int
    seconds: float
    calm_seconds: float = 120.0
    slow_faults: bool = True
    quiet_kills: int = 5
    kind: str = ""
    faults: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    absent: dict[str, str] = field(default_factory=dict)
    jobs: list[PlannedJob] = field(default_factory=list)
    took: float = 0.0
    hostile: HostilePublisher = field(default_factory=lambda: HostilePublisher(0, 0))

    async def run(self) -> Findings:
        """Return what is wrong in the end."""
        started = time.monotonic()
        self.hostile = HostilePublisher(self.seed, max(3, self.count // 8))
        # The silent receiver of callbacks is on this host.
        async with World(self.folder, settings={"WORKER_ALLOW_PRIVATE_ADDRESSES": "true"}) as world:
            self.absent = absent(world)
            self.repository = SqlRepository(world.real["WORKER_DATABASE_URL"])
            await asyncio.to_thread(make_sources, world.nas, world.s3())
            self._dice = random.Random(self.seed)
            await asyncio.to_thread(listen, world.real["WORKER_BROKER_URL"])
            kinds = [*ALWAYS, *[self.kind] * self.count][: self.count]
            self.jobs = [plan(index, self.seed, self._dice, world.nas, kind) for index, kind in enumerate(kinds)]
            try:
                async with PublishedFiles(world.nas / "out") as published:
                    await self._disturb(world)
                    await self._settle(world)
                    await self._measure(world)
                metrics = await world.metrics()
                stuck = await world.stop_workers()
                await world.one_last_worker()
                findings = await examine(world, self.jobs, published.sizes, self.hostile)
                findings.leaked += [f"{name} did not end after SIGTERM" for name in stuck]
                findings.revealed = await asyncio.to_thread(self._revealed, world, metrics)
            finally:
                await self.repository.close()
            world.hear_broker()
            self.faults["delivery time-out (5 s)"] = world.broker_log.count(TIMED_OUT)
            if starts := sum(worker.starts for worker in world.workers if worker.clock):
                self.faults["worker started with a wrong clock"] = starts
        self.took = time.monotonic() - started
        return findings

    def _revealed(self, world: World, metrics: dict[str, bytes]) -> list[str]:
        """Return where a secret stands that nobody may read."""
        texts = list(everything(world, metrics))
        carried = [secret for name, secret in of_jobs(self.seed).items() if HAS_GOURCE or not name.startswith("git")]
        return found_in(texts, [*carried, *of_services(world.real)]) + unseen(texts, carried)

    async def _disturb(self, world: World) -> None:
        """Publish while faults go on; end when every job has ended, or the time is over."""
        publishing = asyncio.create_task(self._publish(world))
        attack = asyncio.create_task(self.hostile.run(world))
        try:
            await self._until_published(world, publishing)
        finally:
            attack.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await attack

    async def _until_published(self, world: World, publishing: asyncio.Task[None]) -> None:
        async with self.under_faults(world):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.seconds):
                    await asyncio.shield(publishing)
                    while await self._open():
                        await asyncio.sleep(0.5)
        if not publishing.done():
            async with asyncio.timeout(self.calm_seconds):
                await publishing

    @contextlib.asynccontextmanager
    async def under_faults(self, world: World) -> AsyncIterator[None]:
        """Break things, one after the other, for as long as this is open; what cannot be injected is raised."""
        breaking = asyncio.create_task(self._break(world))
        try:
            yield
        finally:
            breaking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await breaking

    async def _measure(self, world: World) -> None:
        """Kill workers in the middle of jobs while nothing else is broken: how soon do the jobs run again?"""
        for number in range(self.quiet_kills):
            job = plan(len(self.jobs), self.seed, random.Random(f"{self.seed} {number}"), world.nas, "measured")
            self.jobs.append(job)
            await asyncio.to_thread(publish_one, world.real["WORKER_BROKER_URL"], job)
            async with asyncio.timeout(60):
                while (record := await self.repository.job(job.job_id)) is None or not record.attempts:
                    await asyncio.sleep(0.05)
            worker = next(item for item in world.workers if item.name == record.attempts[0].worker)
            worker.send(signal.SIGKILL)
            self.faults["SIGKILL of a busy worker, nothing else broken"] += 1
            async with asyncio.timeout(60):
                while await self._open():
                    await asyncio.sleep(0.2)

    async def _break(self, world: World) -> None:
        while True:
            cards = [fault for fault in deck(world) if self.slow_faults or not fault.slow]
            self._dice.shuffle(cards)
            for fault in cards:
                await asyncio.sleep(self._dice.uniform(0.1, 1.5))
                begun = time.time()
                await self._inject(world, fault)
                if not fault.name.startswith("SIGKILL"):
                    # A half-open connection is noticed when the broker sends no heartbeats.
                    lasts = HEARTBEATS_SECONDS if "half-open" in fault.name else 10.0
                    world.troubles.append((begun, time.time() + lasts))

    async def _inject(self, world: World, fault: Fault) -> None:
        """Inject to the end: what was broken half-way would stay so."""
        injection = asyncio.create_task(fault.inject(world, random.Random(self._dice.random())))
        try:
            await asyncio.shield(injection)
        finally:
            (self.faults if await injection else self.missed)[fault.name] += 1

    async def _publish(self, world: World) -> None:
        cancels: set[asyncio.Task[None]] = set()
        for number, job in enumerate(self.jobs):
            while number and await self._open(number) >= BACKLOG:
                await asyncio.sleep(0.2)
            digest = hashlib.sha256(job.body).hexdigest()
            if job.submitted:
                with contextlib.suppress(IdReused):
                    await insist(lambda job=job, digest=digest: self.repository.submit(
                        decode(job.body, job.job_id), digest, "cpu", "normal"
                    ))  # fmt: skip
            await insist(lambda job=job: asyncio.to_thread(publish_one, world.real["WORKER_BROKER_URL"], job))
            if job.cancel_after is not None:
                cancels.add(asyncio.create_task(self._cancel(job, job.cancel_after)))
        await asyncio.gather(*cancels)

    async def _cancel(self, job: PlannedJob, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await insist(lambda: self.repository.request_cancel(job.job_id))

    async def _open(self, published: int | None = None) -> int:
        """Return how many of the jobs published so far have not ended."""
        ended = await insist(lambda: open_jobs(self.repository, hostile=False, ended=True))
        return (len(self.jobs) if published is None else published) - ended

    async def _settle(self, world: World) -> None:
        """Wait until every job has ended and no message is left; what does not end is for the examination."""
        await world.calm()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.calm_seconds):
                while (
                    await self._open()
                    or await open_jobs(self.repository, hostile=True, ended=False)
                    or await asyncio.to_thread(waiting, world)
                    or await self.repository.pending_deletions()
                ):
                    await asyncio.sleep(0.5)

    def table(self, findings: Findings) -> str:
        """Return the campaign as a table in Markdown."""
        counted = {name: str(count) for name, count in self.faults.items()}
        rows = [
            ("seed", str(self.seed)),
            ("jobs", f"{self.count} ({', '.join(f'{n} {state}' for state, n in sorted(findings.states.items()))})"),
            ("hostile messages", self.hostile.summary),
            ("seconds", f"{self.took:.0f}"),
            ("faults", str(sum(self.faults.values()))),
            ("injected, and met nothing: not counted", _listed(self.missed)),
            *((f"· {name}", number) for name, number in sorted((self.absent | counted).items())),
            *((f"· died of {name}", str(count)) for name, count in sorted(findings.errors.items())),
            *((f"· divided films {how}", str(count)) for how, count in sorted(findings.divided.items())),
            *((kind, str(len(getattr(findings, kind)))) for kind in KINDS),
            ("whole outputs of jobs that died between showing and recording them", str(len(findings.shown))),
            ("seconds from SIGKILL to the next attempt", _spread(findings.recoveries)),
            ("· where nothing else was broken meanwhile", _spread(findings.undisturbed)),
        ]
        return "\n".join(["| campaign | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _listed(counts: Counter[str]) -> str:
    names = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return f"{counts.total()} ({names})" if names else "0"


def _spread(values: list[float]) -> str:
    if not values:
        return "none was killed in the middle of a job"
    return f"{values[0]:.1f} to {values[-1]:.1f}, median {values[len(values) // 2]:.1f} ({len(values)} measured)"


def publish_one(url: str, job: PlannedJob) -> None:
    with Publisher(url) as publisher:
        publisher.publish_job(job.body, job.job_id, "cpu", "normal", dialect="canonical")


async def insist(action: Callable[[], Awaitable[T]]) -> T:
    """Return what an action returns once the broker and the database are there."""
    while True:
        try:
            return await action()
        except (BrokerUnavailable, DatabaseUnavailable, Misconfigured):
            await asyncio.sleep(0.3)
