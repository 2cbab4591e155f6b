"""A hostile publisher beside a campaign's jobs: what it sends, and what must have become of it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pika.exceptions
from sqlalchemy import func, select

from tests.support.hostile import EXPIRATION, MESSAGE_ID, UNDECODABLE, publish_all, short
from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.sql.schema import jobs
from worker.core.record import TERMINAL

from .jobs import PlannedJob

if TYPE_CHECKING:
    from worker.adapters.sql import SqlRepository

    from .invariant import Findings
    from .world import World

TITLE = "hostile"
ROUND_SECONDS = 1.5
Message = tuple[bytes, dict[int, bytes], str]


@dataclass
class HostilePublisher:
    """`rounds` times one of each attack, from `seed`: properties, expirations, twins, one output, slow callbacks."""

    seed: int
    rounds: int
    refused: set[str] = field(default_factory=set)
    twins: list[str] = field(default_factory=list)
    expiring: set[str] = field(default_factory=set)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    callers: int = 0

    async def run(self, world: World) -> None:
        """Publish all of it, a little at a time; the broker may be away."""
        dice = random.Random(f"hostile {self.seed}")
        server = await asyncio.start_server(_silent, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            for number in range(self.rounds):
                for message in self._round(number, port, dice):
                    await _insist(world.real["WORKER_BROKER_URL"], message)
                await asyncio.sleep(dice.uniform(0, ROUND_SECONDS))
            await asyncio.Event().wait()

    def _round(self, number: int, port: int, dice: random.Random) -> list[Message]:
        names = list(UNDECODABLE)
        garbage = f"{TITLE} {self.seed} {number}".encode()
        self.refused.add(_sha(garbage))
        own = f"hostile-{self.seed}-{number}"
        expiring, caller = f"{own}-expiring", f"{own}-calling"
        first, second = f"{own}-first", f"{own}-second"
        self.expiring.add(expiring)
        self.pairs.append((first, second))
        self.callers += 1
        twin = _document(None, size=1000 + number)
        self.twins.append(_sha(twin))
        place = dice.choice((f"nas://out/{first}/", f"s3://media/chaos/{first}/"))
        calling = _document(caller, callback_url=f"http://127.0.0.1:{port}/{number}")
        mean = {MESSAGE_ID: short(expiring), EXPIRATION: short(str(dice.randint(1, 400)))}
        return [
            (garbage, UNDECODABLE[names[number % len(names)]], "cpu.normal"),
            (_document(expiring), mean, "cpu.low"),
            (twin, {}, "cpu.normal"),
            (twin, {}, dice.choice(("cpu.high", "cpu.normal"))),
            *((_document(one, destination=place, seconds=1.0), {MESSAGE_ID: short(one)}, "cpu.normal")
              for one in (first, second)),
            *[(calling, {MESSAGE_ID: short(caller)}, "cpu.normal")] * 5,
        ]  # fmt: skip

    async def planned(self, repository: SqlRepository) -> list[PlannedJob]:
        """Return the jobs that came of it, as the campaign judges jobs."""
        rows = await repository._database.read(lambda connection: connection.execute(_rows()).all())
        return [PlannedJob(row.job_id, TITLE, b"", "", submitted=False) for row in rows]

    async def judge(self, world: World, repository: SqlRepository, findings: Findings) -> None:
        """Note what went wrong beyond what is judged of every job."""
        rows = await repository._database.read(lambda connection: connection.execute(_rows()).all())
        known = {refusal.body_sha256 for refusal in await repository.refusals(limit=100_000)}
        with Publisher(world.real["WORKER_BROKER_URL"]) as publisher:
            dead = {letter.digest for letter in publisher.dead_letters()}
        findings.lost += [f"hostile {digest[:12]} has no refusal" for digest in self.refused - known]
        findings.lost += [f"hostile {digest[:12]} has no dead letter" for digest in self.refused - dead]
        digests = [row.digest for row in rows]
        findings.lost += [f"of the twins {one[:12]} one is lost" for one in self.twins if digests.count(one) < 2]
        states = {row.job_id: row.state for row in rows}
        findings.lost += [f"{one} expired without a row" for one in self.expiring - states.keys()]
        for pair in self.pairs:
            if [states.get(one) for one in pair].count("completed") > 1:
                findings.doubled.append(f"{pair[0]} and {pair[1]} made one file, and both completed")

    @property
    def summary(self) -> str:
        """Return what was sent, as the campaign's table says it."""
        sent = {
            "undecodable properties": len(self.refused), "expirations": len(self.expiring), "twins": len(self.twins),
            "pairs with one output": len(self.pairs), "five copies with a slow callback": self.callers,
        }  # fmt: skip
        return ", ".join(f"{count} {name}" for name, count in sent.items())


async def open_jobs(repository: SqlRepository, *, hostile: bool, ended: bool) -> int:
    """Return how many of the hostile jobs, or of the others, have ended, or have not; parts are no jobs."""
    own = jobs.c.title.like(f"{TITLE}%")
    whole = jobs.c.parent_id.is_(None)
    over = jobs.c.state.in_(TERMINAL)
    asked = select(func.count()).where(whole, own if hostile else ~own).where(over if ended else ~over)
    return int(await repository._database.read(lambda connection: connection.execute(asked).scalar_one()))


def _rows() -> Any:
    return select(jobs.c.job_id, jobs.c.digest, jobs.c.state).where(jobs.c.title.like(f"{TITLE}%"))


def _document(job_id: str | None, *, size: int = 2000, seconds: float = 0.0, **fields: Any) -> bytes:
    data = {"size": size, "seconds": seconds}
    document = {"job_title": f"{TITLE} {job_id or 'twin'}", "tasks": [{"module": "chaos", "data": data}]} | fields
    return json.dumps(document | ({"job_id": job_id} if job_id else {})).encode()


def _sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def _insist(url: str, message: Message) -> None:
    while True:
        with contextlib.suppress(pika.exceptions.AMQPError, OSError):
            await asyncio.to_thread(publish_all, url, [message])
            return
        await asyncio.sleep(0.3)


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take a callback, and never answer."""
    with contextlib.suppress(OSError):
        await reader.read()
    writer.close()
