"""A broker of three nodes whose leader is killed in the middle of jobs, and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infra.provision import provision
from infra.settings import ProvisionSettings
from worker.adapters.sql import SqlRepository
from worker.core.routing import queue_of

from .campaign import insist, publish_one
from .cluster import BrokerCluster
from .invariant import Findings, examine, waiting
from .jobs import PlannedJob, make_sources, plan
from .world import DELAYS, WorkerProcess, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KINDS = ("long", "file", "segments", "encode", "copy", "transient", "move", "permanent")
QUEUE = queue_of("cpu", "normal")
ENDED = ("completed", "dead", "cancelled")


@dataclass
class ClusterWorld(World):
    """A campaign's world whose broker is a cluster; each worker begins its list of nodes with another one."""

    count: int = 2
    wrong_clock: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cluster = BrokerCluster(self.folder / "cluster")

    async def _start_services(self) -> None:
        await asyncio.gather(
            asyncio.to_thread(self.cluster.up), asyncio.to_thread(self.services.up, ("s3", "postgres"))
        )
        self.real = self.services.environment() | {"WORKER_BROKER_URL": ",".join(self.cluster.urls)}
        variables = self.real | {"WORKER_RETRY_DELAYS": DELAYS}
        await asyncio.to_thread(lambda: list(provision(ProvisionSettings.read(variables))))

    def broker_url(self, worker: WorkerProcess) -> str:
        at, urls = self.workers.index(worker), self.cluster.urls
        return ",".join(urls[at:] + urls[:at])

    async def _close(self) -> None:
        try:
            await super()._close()
        finally:
            await asyncio.to_thread(self.cluster.down)


@dataclass
class Failover:
    """`count` jobs a round from `seed`; in each of `rounds` the leader of their queue is killed, and comes back."""

    folder: Path
    count: int
    seed: int
    rounds: int = 1
    facts: dict[str, list[str]] = field(default_factory=dict)
    jobs: list[PlannedJob] = field(default_factory=list)
    _away: list[str] = field(default_factory=list)

    async def run(self) -> Findings:
        """Return what is wrong in the end."""
        started = time.monotonic()
        async with ClusterWorld(self.folder) as world:
            self._note("seconds until the cluster stood", round(time.monotonic() - started, 1))
            self._repository = SqlRepository(world.real["WORKER_DATABASE_URL"])
            await asyncio.to_thread(make_sources, world.nas, world.s3())
            try:
                for _ in range(self.rounds):
                    await self._round(world)
                starts = [worker.starts for worker in world.workers]
                stuck = await world.stop_workers()
                findings = await examine(world, self.jobs)
            finally:
                await self._repository.close()
            findings.leaked += [f"{name} did not end after SIGTERM" for name in stuck]
            findings.lost += self._away
            if starts != [1] * len(starts):
                findings.lost.append(f"the workers had to be started {starts} times")
        self._note("seconds in all", round(time.monotonic() - started, 1))
        return findings

    async def _round(self, world: ClusterWorld) -> None:
        """Publish, kill the leader once a job has ended and another runs, and start it when all have ended."""
        dice = random.Random(f"{self.seed} {len(self.jobs)}")
        for number in range(self.count):
            kind = KINDS[number % len(KINDS)]
            job = plan(len(self.jobs), self.seed, dice, world.nas, kind)
            self.jobs.append(job)
            await insist(lambda job=job: asyncio.to_thread(publish_one, world.real["WORKER_BROKER_URL"], job))
        before = len(self.jobs) - self.count
        await self._until(lambda ended, running: ended > before and running > 0, 60)
        index = await asyncio.to_thread(world.cluster.leader, QUEUE)
        killed = time.monotonic()
        await asyncio.to_thread(world.cluster.kill, index)
        ended, _ = await self._counts()
        await self._until(lambda now, _: now > ended, 60)
        self._note("seconds from the leader's death to the next job's end", round(time.monotonic() - killed, 1))
        with contextlib.suppress(TimeoutError):
            await self._until(lambda now, _: now == len(self.jobs), 90)
        self._note("seconds until all had ended", round(time.monotonic() - killed, 1))
        await self._reconnected(world)
        await asyncio.to_thread(world.cluster.start, index)
        self._note("leader when the node was back", await asyncio.to_thread(world.cluster.leader, QUEUE) + 1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                while await asyncio.to_thread(waiting, world):
                    await asyncio.sleep(0.2)

    async def _reconnected(self, world: ClusterWorld, seconds: float = 25) -> None:
        """Return when every worker is connected to a node that lives; who is not is remembered."""
        deadline = time.monotonic() + seconds
        wanted = {worker.name for worker in world.workers}
        while wanted:
            names = await asyncio.to_thread(world.cluster.clients)
            wanted -= {name for name in wanted for client in names if f" {name} " in client and " cpu" in client}
            if time.monotonic() > deadline:
                self._away += [f"{name} is connected to no node that lives" for name in sorted(wanted)]
                return
            await asyncio.sleep(0.2)

    async def _counts(self) -> tuple[int, int]:
        """Return how many jobs have ended, and how many run."""
        counts = await insist(self._repository.counts)
        return sum(counts.get(state, 0) for state in ENDED), counts.get("running", 0)

    async def _until(self, reached: Callable[[int, int], bool], seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while not reached(*await self._counts()):
                await asyncio.sleep(0.05)

    def _note(self, fact: str, value: object) -> None:
        self.facts.setdefault(fact, []).append(str(value))

    def table(self, findings: Findings) -> str:
        """Return the scenario as a table in Markdown."""
        states = ", ".join(f"{number} {state}" for state, number in sorted(findings.states.items()))
        rows = [
            ("seed", str(self.seed)),
            ("jobs", f"{len(self.jobs)} ({states})"),
            ("leaders killed in the middle of jobs", str(self.rounds)),
            *((fact, ", ".join(values)) for fact, values in self.facts.items()),
            *((kind, str(len(getattr(findings, kind)))) for kind in ("lost", "doubled", "torn", "leaked")),
        ]
        head = ["| a broker of three nodes | |", "|---|---|"]
        return "\n".join([*head, *(f"| {name} | {value} |" for name, value in rows)])
