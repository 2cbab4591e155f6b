"""Hostile messages: valid jobs mutated from a seed, and foreign publishers' habits, given to a live worker."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aio_pika
import psutil
import psycopg
from aio_pika import DeliveryMode, Message

from tests.support.amqp10 import ODD, Sender, data
from worker.adapters.rabbitmq.publisher import WITH_AMQP_10, Publisher
from worker.core.errors import BrokerUnavailable, InvalidJob
from worker.core.message.dialects import decode
from worker.core.message.wire import MAX_BODY_BYTES
from worker.core.routing import DEAD_QUEUE, DEATHS, JOBS, LANES

from .invariant import waiting
from .world import World

if TYPE_CHECKING:
    from collections.abc import Callable

DOCUMENTS = Path(__file__).resolve().parents[1] / "unit" / "documents"
ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 10**400, 1e308, float("nan"), "", "\x00", "\ud800", "é" * 5000, "../../etc/passwd", "-rf",
    [], {}, [[]], {"": {}}, "s3://", "file:///", "nas://", "data:,x", "$(id)", "a" * 70_000,
)  # fmt: skip
ODD_HEADERS: tuple[dict[str, Any], ...] = (
    {}, {"x-attempt": 10**9}, {"x-attempt": "3"}, {"x-attempt": -1, "x-round": -5}, {"x-round": 2**62},
    {"x-death": "rejected"}, {"x-death": [{"reason": "rejected", "queue": "media.cpu.normal", "count": 99}]},
    {"x-death": [None, 7, {"reason": 5}]}, {"a": {"b": {"c": [1, "x", None]}}}, {"x-first-queued-at": 5},
    {"BCC": ["cpu.low"], "CC": ["cpu.high"] * 500}, {"x-delay": 2**31}, {"x-delivery-count": 10**6},
    {"x-first-death-reason": "expired", "x-first-death-queue": "media.defer"}, {"x-acquired-count": -1},
    {"x-opt-delivery-time": 0, "x-cc": ["cpu.low"]}, {"x-death-mark": "a" * 40}, {"x-standby": "b" * 40},
    {"x-hops": 100}, {"x-lane": "nvenc"}, {"x-refused-by": [1]}, {"CC": ["nvenc.low"]},
    {"ü" * 60: bytearray(b"\xff\xfe")},
)  # fmt: skip
KEYS = ("cpu.normal", "cpu.high", "cpu.low", "", "nonsense", "cpu", "#", "visualize.normal", "nvenc.low")
JOB_ID = re.compile(rb'"job_id": *"')
BITS_AS_SPACE = bytes.maketrans(b"01", b" \t")
RSS_BYTES = 200 << 20


@dataclass(frozen=True, slots=True)
class Case:
    """One message as somebody might publish it."""

    body: bytes
    key: str
    properties: dict[str, Any]


def corpus() -> list[bytes]:
    """Return the valid messages that are mutated: the documents of the tests, and jobs of the campaign's module."""
    found = [path.read_bytes() for path in sorted(DOCUMENTS.glob("*.json"))]
    task = {"module": "chaos", "data": {"size": 10}}
    found += [json.dumps({"job_id": f"fuzz-{index}", "job_title": "t", "tasks": [task]}).encode() for index in range(4)]
    return [*found, b'{"tasks": [{"module": "chaos", "data": {}}]}', b'{"chaos": {"size": 5}}']


def case(dice: random.Random, seeds: list[bytes], number: int) -> Case:
    """Return the case of this number; before it is mutated, its body and the id in it are unlike any other's."""
    body = JOB_ID.sub(rb"\g<0>%d-" % number, dice.choice(seeds))
    body += f"{number:b}".encode().translate(BITS_AS_SPACE)
    for _ in range(dice.choice((0, 1, 1, 2, 5))):
        body = dice.choice(MUTATIONS)(body, dice)
    properties: dict[str, Any] = {"delivery_mode": dice.choice(list(DeliveryMode))}
    for name, values in (
        ("message_id", (None, "", f"fuzz-m-{number}", "x" * 255, "../a", "ä b", "fuzz-m-1")),
        ("content_type", (None, "application/json", "text/plain; charset=utf-16", "image/png")),
        ("content_encoding", (None, "gzip", "utf-16")),
        ("type", (None, "canonical", "nonsense", "\x00")),
        ("headers", ODD_HEADERS),
        ("correlation_id", (None, "c")),
        ("priority", (None, 0, 255)),
        ("reply_to", (None, "amq.rabbitmq.reply-to-nobody")),
    ):
        if dice.random() < 0.4:
            properties[name] = dice.choice(values)
    return Case(body, dice.choice(KEYS) if dice.random() < 0.3 else "cpu.normal", properties)


def _flip(body: bytes, dice: random.Random) -> bytes:
    raw = bytearray(body or b"x")
    for _ in range(dice.randint(1, 8)):
        raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
    return bytes(raw)


def _cut(body: bytes, dice: random.Random) -> bytes:
    return body[: dice.randrange(len(body) + 1)]


def _insert(body: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(body) + 1)
    return (
        body[:at] + dice.choice((dice.randbytes(5), b"\x00", b"}{", b'"a":1,', b"[" * 50, b"\xef\xbb\xbf")) + body[at:]
    )


def _value(body: bytes, dice: random.Random) -> bytes:
    """Return the document with one of its values, or one new key, replaced by something odd."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return _flip(body, dice)
    # Without recursion: a document is as deep as a mutation before made it.
    places: list[tuple[Any, Any]] = []
    pending = [document]
    while pending:
        node = pending.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        places += [(node, key) for key in keys]
        pending += [node[key] for key in keys]
    if not places:
        return _flip(body, dice)
    node, key = dice.choice(places)
    if isinstance(node, dict) and dice.random() < 0.3:
        key = dice.choice(("surplus", "job_id", "priority", "lane", "timeout", "destination", "callback_url"))
    node[key] = dice.choice(ODD_VALUES)
    return json.dumps(document, ensure_ascii=dice.random() < 0.5).encode(errors="surrogatepass")


def _encoding(body: bytes, dice: random.Random) -> bytes:
    text = body.decode(errors="replace")
    return text.encode(dice.choice(("utf-16", "utf-32", "utf-8-sig", "latin-1", "cp500")), errors="replace")


def _twice(body: bytes, dice: random.Random) -> bytes:
    key = dice.choice((b'"tasks": []', b'"job_id": "other"', b'"module": "x"'))
    return body.replace(b"{", b"{" + key + b", ", 1)


def _deep(body: bytes, dice: random.Random) -> bytes:
    depth = dice.choice((100, 1000, 10_000))
    deep = dice.choice((b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth))
    return body.replace(b"{}", deep, 1) if b"{}" in body else deep


def _large(body: bytes, dice: random.Random) -> bytes:
    return body + b" " * (MAX_BODY_BYTES + dice.choice((-len(body), 1, 1000)))


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_flip, _cut, _insert, _value, _value, _value, _value, _encoding, _twice, _deep),
    lambda body, dice: _large(body, dice) if dice.random() < 0.1 else _flip(body, dice),
)


@dataclass
class Fuzz:
    """`count` cases from `seed` to one worker; what ends neither as a row nor with the dead is a breach."""

    folder: Path
    count: int
    seed: int
    seconds: float
    breaches: list[str] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)

    async def run(self) -> list[str]:
        """Return every breach."""
        settings = {"WORKER_LANES": ",".join(LANES), "WORKER_UNSERVED_SECONDS": "0.1", "WORKER_LOG_LEVEL": "error"}
        # Ten thousand dead letters are looked at for longer than an impatient broker lets them be held.
        async with World(self.folder, count=1, settings=settings, impatient=False) as world:
            dice, seeds = random.Random(self.seed), corpus()
            cases = [case(dice, seeds, number) for number in range(self.count)]
            watch = asyncio.create_task(self._watch(world))
            started = time.monotonic()
            await self._publish(world, cases)
            cases += await asyncio.to_thread(self._publish_odd, world)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.seconds):
                    await self._quiet(world)
            self.facts["seconds"] = round(time.monotonic() - started)
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            if world.workers[0].starts != 1:
                self.breaches.append(f"the worker was started {world.workers[0].starts} times")
            await world.stop_workers()
            await asyncio.to_thread(self._judge, world, cases)
        return self.breaches

    async def _publish(self, world: World, cases: list[Case]) -> None:
        connection = await aio_pika.connect(world.real["WORKER_BROKER_URL"])
        async with connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange(JOBS, ensure=False)
            for item in cases:
                message = Message(item.body, **item.properties)
                if "message_id" not in item.properties:
                    message.message_id = None
                await exchange.publish(message, item.key)

    def _publish_odd(self, world: World) -> list[Case]:
        """Publish what only AMQP 1.0 can say, which brokers before 4 do not speak; return it as the worker gets it."""
        url = world.real["WORKER_BROKER_URL"]
        with Publisher(url) as publisher:
            if publisher.version < WITH_AMQP_10:
                return []
        task = {"module": "chaos", "data": {"size": 10}}
        bodies = [json.dumps({"job_id": f"odd-{number}", "tasks": [task]}).encode() for number in range(len(ODD))]
        with Sender(url) as sender:
            for body, (before, after) in zip(bodies, ODD.values(), strict=True):
                if (outcome := sender.publish(before + data(body) + after)) != "accepted":
                    self.breaches.append(f"{body!r} was {outcome} by the broker")
        return [Case(body, "cpu.normal", {}) for body in bodies]

    async def _quiet(self, world: World) -> None:
        """Return when no queue holds a message, and none comes back."""
        quiet = 0
        while quiet < 4:
            quiet = quiet + 1 if not await asyncio.to_thread(self._busy, world) else 0
            await asyncio.sleep(0.5)

    def _busy(self, world: World) -> bool:
        with _rows(world) as rows:
            live = rows.execute(
                "SELECT count(*) FROM jobs WHERE state IN ('running', 'publishing', 'queued', 'retrying')"
            )
            found = live.fetchone()
            return bool(waiting(world)) or bool(found and found[0]) or self._has_deaths(world)

    def _has_deaths(self, world: World) -> bool:
        """Return whether deaths wait for a worker's round of chores; only the odd ones die by the broker alone."""
        with Publisher(world.real["WORKER_BROKER_URL"]) as publisher:
            return publisher.version >= WITH_AMQP_10 and bool(publisher.count(DEATHS))

    async def _watch(self, world: World) -> None:
        """Note the largest resident size of the worker."""
        while True:
            process = world.workers[0].process
            if process is not None and process.returncode is None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    size = psutil.Process(process.pid).memory_info().rss
                    self.facts["rss_mib"] = max(int(str(self.facts.get("rss_mib", 0))), size >> 20)
            await asyncio.sleep(0.2)

    def _judge(self, world: World, cases: list[Case]) -> None:
        dead = _dead(world.real["WORKER_BROKER_URL"])
        with _rows(world) as rows:
            found = rows.execute("SELECT job_id, digest, state, error FROM jobs").fetchall()
            jobs = {digest: (state, error) for _, digest, state, error in found}
            by_id = {job_id: (state, error) for job_id, _, state, error in found}
            refused = {row[0]: row[1] for row in rows.execute("SELECT body_sha256, error FROM refusals")}
        self.facts |= {"jobs": len(jobs), "refused": len(refused), "dead letters": len(dead)}
        for item in cases:
            digest = hashlib.sha256(item.body).hexdigest()
            # Other bytes that say the same are the same job: its row knows the first ones only.
            state, error = jobs.get(digest) or by_id.get(_id_of(item), ("", ""))
            same = digest not in jobs
            if state in {"completed", "cancelled"} or digest in refused or (state == "dead" and error):
                if (digest in refused or (state == "dead" and not same)) and digest not in dead:
                    self.breaches.append(f"{item.body[:80]!r} is {state or 'refused'} without a dead letter")
                continue
            self.breaches.append(f"{item.body[:80]!r} {item.key} {item.properties} is {state or 'nowhere'}")
        self.breaches += [f"{count} messages are left in {name}" for name, count in waiting(world).items()]
        if int(str(self.facts.get("rss_mib", 0))) << 20 > RSS_BYTES:
            self.breaches.append(f"the worker took {self.facts['rss_mib']} MiB")


def _id_of(item: Case) -> str:
    """Return the job's id that a message tells, empty where it is no job."""
    try:
        return decode(item.body, item.properties.get("message_id") or None).job_id
    except InvalidJob:
        return ""


def _dead(url: str) -> set[str]:
    """Return the digests of the dead letters; what the broker could not deliver is readable when it is asked again."""
    for _ in ODD:
        with contextlib.suppress(BrokerUnavailable), Publisher(url) as publisher:
            return {letter.digest for letter in publisher.dead_letters()}
        # What a connection held that the broker ended comes back a moment later.
        seen = -1
        while (count := _count_of_dead(url)) > seen:
            seen = count
            time.sleep(1)
    return set()


def _count_of_dead(url: str) -> int:
    with Publisher(url) as publisher:
        return publisher.count(DEAD_QUEUE)


def _rows(world: World) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(world.real["WORKER_DATABASE_URL"], autocommit=True)
