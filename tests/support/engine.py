"""A whole engine in the test's own process: the real broker, a real database, real files, tasks of the test's own."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import aio_pika
import httpx
import pika
from aio_pika import DeliveryMode, Message

from worker import Files, FileUse, Model, Task, TaskContext
from worker.adapters.rabbitmq import Link, RabbitConsumer
from worker.adapters.rabbitmq.jobs import RabbitJobs
from worker.adapters.storage.nas import NasStorage
from worker.core.policy import Policy
from worker.core.routing import DEAD_QUEUE, DEATHS, JOBS, queues_of
from worker.core.topology import topology
from worker.engine.attempt.run import LocalProduction
from worker.engine.executor import Executor
from worker.engine.host.scratch import Scratch
from worker.engine.resources import Resources
from worker.engine.storages import Storages
from worker.process.runner import ProcessRunner
from worker.registry import Registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from worker.adapters.sql import SqlRepository
    from worker.core.attempt import Settlement, StateChange

DELAYS = (0.2, 0.3, 0.4)
DEFER_SECONDS = 0.3


class WriteParams(Model):
    name: str = "out.txt"
    text: str = "hello"


class WriteTask(Task[WriteParams]):
    """Writes a text; `on_run` is the test's hand in the middle of it."""

    module: ClassVar[str] = "write"
    params = WriteParams

    def __init__(self, on_run: Callable[[TaskContext], Awaitable[None]] | None = None) -> None:
        self.on_run = on_run
        self.runs = 0

    def files(self, params: WriteParams) -> Files:
        return Files(writes=(FileUse("name", params.name),))

    async def run(self, params: WriteParams, context: TaskContext) -> None:
        self.runs += 1
        if self.on_run is not None:
            await self.on_run(context)
        context.output(params.name).write_text(params.text)


@dataclass
class Harness:
    """One worker's engine without its loop: a test takes deliveries one by one."""

    url: str
    repository: SqlRepository
    folder: Path
    worker_id: str = "tester-1"
    lanes: tuple[str, ...] = ("cpu",)
    lease_seconds: float = 5.0
    long_lease_seconds: float = 0.0
    task: WriteTask = field(default_factory=WriteTask)
    more_tasks: tuple[Task[Any], ...] = ()
    tools: Mapping[str, str] = field(default_factory=dict)
    path_map: Mapping[str, str] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    changes: list[StateChange] = field(default_factory=list)
    on_step: Callable[[str], Awaitable[None]] | None = None

    def __post_init__(self) -> None:
        self.policy = Policy(DELAYS)
        self.storage = self.folder / "storage"
        self.storage.mkdir(parents=True, exist_ok=True)
        self.scratch = Scratch(self.folder / "scratch" / self.worker_id)
        self.nas = NasStorage(self.storage, (self.storage,))
        self.link = Link(self.url, self.worker_id, confirms=False, wait_seconds=10)
        self.publisher = Link(self.url, f"{self.worker_id} publisher", confirms=True, wait_seconds=10)
        self.consumer = RabbitConsumer(
            self.link,
            self.publisher,
            queues_of(self.lanes),
            tag=self.worker_id,
            defer_seconds=DEFER_SECONDS,
            delays=DELAYS,
        )
        self.resources = Resources(
            repository=self.repository,
            storages=Storages.of((self.nas,), self.path_map),
            registry=Registry({task.module: task for task in (self.task, *self.more_tasks)}),
            runner=ProcessRunner(dict(os.environ)),
            scratch=self.scratch,
            tools=self.tools,
            destination=f"file://{self.storage}/",
            stall_seconds=60,
            job_seconds=60,
            on_progress=self._progress,
            on_state=self._state,
            on_step=self._step,
            publisher=RabbitJobs(self.publisher),
        )
        self.executor = Executor(
            self.resources,
            self.policy,
            LocalProduction(self.resources),
            worker_id=self.worker_id,
            lanes=self.lanes,
            lease_seconds=self.lease_seconds,
            long_lease_seconds=self.long_lease_seconds,
        )

    async def _progress(self, _attempt: Any, _progress: Any) -> None:
        return

    async def _state(self, change: StateChange) -> None:
        self.states.append(change.state)
        self.changes.append(change)

    async def _step(self, step: str) -> None:
        self.steps.append(step)
        if self.on_step is not None:
            await self.on_step(step)

    async def one(self, seconds: float = 10) -> Settlement:
        """Run the next delivery to its settlement."""
        async with asyncio.timeout(seconds):
            delivery = await self.consumer.next()
        assert delivery is not None
        return await self.executor.execute(delivery)

    async def until(self, job_id: str, *states: str, seconds: float = 15) -> None:
        """Run deliveries until the job has one of `states`."""
        deadline = time.monotonic() + seconds
        while True:
            record = await self.repository.job(job_id)
            if record is not None and record.state in states:
                return
            assert time.monotonic() < deadline, f"{job_id} is {record and record.state}, not {states}"
            await self.one(deadline - time.monotonic())

    def fail_with(self, error: Exception, times: int = 10**6) -> None:
        """Let the task's first runs raise `error`."""

        async def on_run(_context: TaskContext) -> None:
            if self.task.runs <= times:
                raise error

        self.task.on_run = on_run

    async def close(self) -> None:
        await self.consumer.close()


def document(**fields: Any) -> dict[str, Any]:
    return {"job_id": str(uuid.uuid4()), "tasks": [{"module": "write", "data": {}}]} | fields


class Broker:
    """The test's own access to the broker."""

    def __init__(self, channel: aio_pika.abc.AbstractChannel, url: str, management_url: str) -> None:
        self.channel = channel
        self.url = url
        self.management_url = management_url

    async def publish(self, body: bytes | dict[str, Any], key: str = "cpu.normal", **properties: Any) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        properties.setdefault("delivery_mode", DeliveryMode.PERSISTENT)
        exchange = await self.channel.get_exchange(properties.pop("exchange", JOBS), ensure=False)
        await exchange.publish(Message(raw, **properties), key)

    async def publish_bare(self, body: dict[str, Any], key: str = "cpu.normal") -> None:
        """Publish without any property: aio-pika and aiormq give every message an id, pika does not."""

        def send() -> None:
            with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
                connection.channel().basic_publish(JOBS, key, json.dumps(body).encode())

        await asyncio.to_thread(send)

    async def consumers(self, wanted: int, seconds: float = 10) -> None:
        """Return when the broker's table of consumers has `wanted` rows, one a queue that a worker waits on.

        A quorum queue's own count is no witness: it keeps a cancelled consumer until its last message is settled.
        """
        deadline = time.monotonic() + seconds
        async with httpx.AsyncClient() as client:
            while len(found := (await client.get(f"{self.management_url}api/consumers")).json()) != wanted:
                assert time.monotonic() < deadline, f"the broker has {len(found)} consumers, not {wanted}"
                await asyncio.sleep(0.05)

    async def waiting(self, queue: str) -> int:
        """Return the messages that are ready in a queue."""
        declared = await self.channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count

    async def take(self, queue: str, seconds: float = 5) -> aio_pika.abc.AbstractIncomingMessage:
        """Return the next message of a queue, acknowledged."""
        source = await self.channel.get_queue(queue, ensure=False)
        deadline = time.monotonic() + seconds
        while (message := await source.get(fail=False)) is None:
            assert time.monotonic() < deadline, f"nothing came into {queue}"
            await asyncio.sleep(0.02)
        await message.ack()
        return message

    async def dead(self) -> aio_pika.abc.AbstractIncomingMessage:
        return await self.take(DEAD_QUEUE)

    async def settled(self, seconds: float = 5) -> None:
        """Return when no job queue and no delay queue holds a message."""
        names = [
            queue.name for queue in topology(DELAYS, DEFER_SECONDS).queues if queue.name not in {DEAD_QUEUE, DEATHS}
        ]
        deadline = time.monotonic() + seconds
        while left := {name: count for name in names if (count := await self.waiting(name))}:
            assert time.monotonic() < deadline, f"messages are left: {left}"
            await asyncio.sleep(0.05)


@asynccontextmanager
async def broker_access(url: str, management_url: str) -> AsyncIterator[Broker]:
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        wanted = topology(DELAYS, DEFER_SECONDS)
        for exchange in wanted.exchanges:
            await channel.declare_exchange(
                exchange.name, exchange.type, durable=True, arguments=dict(exchange.arguments)
            )
        queues = [
            await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))
            for queue in wanted.queues
        ]
        # Again until a whole pass finds none: an earlier test's retry may leave its delay queue behind our back.
        while sum([(await queue.purge()).message_count for queue in reversed(queues)]):
            pass
        for binding in wanted.bindings:
            target = await channel.get_queue(binding.queue, ensure=False)
            await target.bind(binding.exchange, binding.routing_key)
        yield Broker(channel, url, management_url)
