"""What the engine relies on in a broker, run on RabbitMQ and on the one in memory that `worker.testing` ships."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.support.engine import DEFER_SECONDS, DELAYS
from worker.adapters.rabbitmq.publisher import Publisher
from worker.core.attempt import (
    Cancelled,
    Completed,
    Dead,
    Defer,
    Divided,
    Failure,
    Forward,
    Requeue,
    Retry,
    Settlement,
    Surplus,
)
from worker.core.errors import LeaseLost
from worker.core.routing import DEAD_QUEUE, DEATHS, defer_name, queue_of, queues_of
from worker.testing import MemoryBroker, MemoryConsumer

if TYPE_CHECKING:
    from tests.support.engine import Broker, Harness

pytestmark = pytest.mark.xdist_group("rabbitmq")

FAILURE = Failure("ffmpeg exited 1", "ToolFailed", "w1", 2)
HOSTILE = {"x-mine": 1, "x-death": "rejected"}


class Bench(Protocol):
    """A broker under test and one consumer of the lane `cpu`."""

    consumer: MemoryConsumer

    async def publish(self, body: bytes, key: str = "cpu.normal", **properties) -> None: ...
    async def waiting(self, queue: str) -> int: ...
    async def lose(self) -> None: ...


@dataclass
class RabbitBench:
    harness: Harness
    broker: Broker

    @property
    def consumer(self):
        return self.harness.consumer

    @property
    def version(self):
        with Publisher(self.harness.link.url) as publisher:
            return publisher.version

    async def publish(self, body, key="cpu.normal", **properties):
        await self.broker.publish(body, key, **properties)

    async def waiting(self, queue):
        return await self.broker.waiting(queue)

    async def lose(self):
        await self.harness.link.reset()


class MemoryBench:
    version = ()

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.consumer = MemoryConsumer(self.broker, queues_of(("cpu",)), defer_seconds=DEFER_SECONDS, delays=DELAYS)

    async def publish(self, body, key="cpu.normal", headers=None, message_id=None):
        self.broker.publish(body, key, headers, message_id)

    async def waiting(self, queue):
        return self.broker.waiting(queue)

    async def lose(self):
        await self.consumer.lose()


@pytest.fixture(params=["memory", "rabbitmq"])
def bench(request) -> Bench:
    if request.param == "memory":
        return MemoryBench()
    return RabbitBench(request.getfixturevalue("harness"), request.getfixturevalue("broker"))


async def arrived(bench, seconds: float = 10):
    async with asyncio.timeout(seconds):
        return await bench.consumer.next()


async def count(bench, queue: str, wanted: int, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while await bench.waiting(queue) != wanted:
            await asyncio.sleep(0.02)


def settlement(outcome, **facts) -> Settlement:
    return Settlement(outcome, "j1", "cpu", "normal", **facts)


async def test_a_message_arrives_as_it_was_published(bench):
    await bench.publish(b"{}", "cpu.high", message_id="j1", headers={"x-attempt": 2})
    delivery = await arrived(bench)
    assert (delivery.body, delivery.message_id, delivery.queue) == (b"{}", "j1", queue_of("cpu", "high"))
    assert (delivery.routing_key, delivery.headers["x-attempt"], delivery.redelivered) == ("cpu.high", 2, False)
    await delivery.settle(settlement(Completed()))


async def test_an_unknown_key_still_gets_in(bench):
    await bench.publish(b"{}", "whatever")
    delivery = await arrived(bench)
    assert delivery.queue == queue_of("cpu", "normal")
    await delivery.settle(settlement(Completed()))


async def test_the_highest_priority_comes_first(bench):
    for priority in ("low", "normal", "high"):
        await bench.publish(priority.encode(), f"cpu.{priority}")
    found = []
    for _ in range(3):
        delivery = await arrived(bench)
        found.append(delivery.body)
        await delivery.settle(settlement(Completed()))
    assert found == [b"high", b"normal", b"low"]


async def test_a_consumer_that_does_not_wait_gets_none_from_an_empty_queue(bench):
    assert await bench.consumer.next(wait=False) is None


async def test_a_waiting_consumer_gets_the_next_message(bench):
    waiting = asyncio.create_task(bench.consumer.next())
    await asyncio.wait({waiting}, timeout=0.1)
    await bench.publish(b"late")
    async with asyncio.timeout(10):
        delivery = await waiting
    assert delivery.body == b"late"
    await delivery.settle(settlement(Completed()))


async def test_a_wait_that_is_cancelled_loses_nothing(bench):
    waiting = asyncio.create_task(bench.consumer.next())
    await asyncio.wait({waiting}, timeout=0.1)
    waiting.cancel()
    await asyncio.wait({waiting})
    await bench.publish(b"{}")
    await (await arrived(bench)).settle(settlement(Completed()))


@pytest.mark.parametrize(
    "outcome", [Completed(), Cancelled(), Divided(2), Surplus()], ids=lambda one: type(one).__name__
)
async def test_a_settlement_without_a_copy_removes_the_message(bench, outcome):
    await bench.publish(b"{}")
    assert await (await arrived(bench)).settle(settlement(outcome))
    assert await bench.consumer.next(wait=False) is None
    assert await bench.waiting(DEAD_QUEUE) == 0


async def test_a_retry_comes_back_after_its_delay_with_its_counts_and_none_of_its_publishers_headers(bench):
    await bench.publish(b"{}", "cpu.low", headers=HOSTILE)
    delivery = await arrived(bench)
    await delivery.settle(Settlement(Retry(DELAYS[0], FAILURE, 3), "j1", "cpu", "high"))
    again = await arrived(bench)
    assert again.queue == queue_of("cpu", "high")
    assert (again.message_id, again.headers["x-attempt"], again.headers["x-round"]) == ("j1", 2, 3)
    assert (again.headers["x-last-error"], again.headers["x-error-type"]) == ("ffmpeg exited 1", "ToolFailed")
    assert not {"x-mine", "x-death"} & {name for name, value in again.headers.items() if value in (1, "rejected")}
    await again.settle(settlement(Completed()))


async def test_a_deferral_comes_back_and_is_charged_to_nobody(bench):
    await bench.publish(b"{}", headers={"x-attempt": 1})
    await (await arrived(bench)).settle(settlement(Defer("not now", refused_by="w1")))
    assert await bench.waiting(defer_name(DEFER_SECONDS)) <= 1
    again = await arrived(bench)
    assert (again.headers["x-attempt"], again.headers["x-refused-by"]) == (1, "w1")
    await again.settle(settlement(Completed()))


async def test_a_forward_goes_to_its_lane_under_its_id_and_counts_its_hops(bench):
    await bench.publish(b"{}")
    await (await arrived(bench)).settle(Settlement(Forward("j9", "cpu", "low"), "j9", "cpu", "low"))
    again = await arrived(bench)
    assert (again.queue, again.message_id, again.headers["x-hops"]) == (queue_of("cpu", "low"), "j9", 1)
    await again.settle(settlement(Completed()))


async def test_a_dead_message_is_rejected_with_its_reason_and_noted_among_the_deaths(bench):
    await bench.publish(b"{}", "cpu.low", message_id="j1", headers=HOSTILE)
    await (await arrived(bench)).settle(settlement(Dead(FAILURE)))
    await count(bench, DEAD_QUEUE, 1)
    await count(bench, DEATHS, 1)
    death = await bench.consumer.death()
    assert (death.queue, death.body, death.routing_key) == (DEATHS, b"{}", "cpu.low")
    assert [entry["reason"] for entry in death.headers["x-death"]] == ["rejected"]
    assert (death.headers["x-last-error"], death.headers["x-death-mark"]) == ("ffmpeg exited 1", FAILURE.mark)
    await death.settle(Settlement(Completed()))
    assert await bench.consumer.death() is None


async def test_a_delivery_that_is_given_back_comes_again_as_a_redelivery(bench):
    await bench.publish(b"{}")
    await (await arrived(bench)).settle(settlement(Requeue()))
    again = await arrived(bench)
    assert again.redelivered
    await again.give_back()
    last = await arrived(bench)
    await last.settle(settlement(Completed()))
    await last.give_back()
    assert await bench.consumer.next(wait=False) is None


async def test_a_delivery_is_settled_once(bench):
    await bench.publish(b"{}")
    delivery = await arrived(bench)
    await delivery.settle(settlement(Completed()))
    with pytest.raises(RuntimeError, match="once"):
        await delivery.settle(settlement(Completed()))


async def test_a_failure_between_copy_and_acknowledgement_keeps_the_original(bench):
    await bench.publish(b"{}")
    delivery = await arrived(bench)

    async def taken():
        raise LeaseLost("another one has it")

    with pytest.raises(LeaseLost):
        await delivery.settle(Settlement(Forward("j9", "cpu", "low"), "j9", "cpu", "low"), taken)
    await delivery.give_back()
    found = []
    for _ in range(2):
        one = await arrived(bench)
        found.append(one.queue)
        await one.settle(settlement(Completed()))
    assert sorted(found) == [queue_of("cpu", "low"), queue_of("cpu", "normal")]


@pytest.mark.parametrize("outcome", [Completed(), Requeue()], ids=lambda one: type(one).__name__)
async def test_on_a_lost_connection_nothing_is_settled_and_the_message_comes_again(bench, outcome):
    await bench.publish(b"{}")
    delivery = await arrived(bench)
    await bench.lose()
    assert not await delivery.settle(settlement(outcome))
    again = await arrived(bench)
    assert (again.body, again.redelivered) == (b"{}", True)
    await again.settle(settlement(Completed()))


async def test_no_copy_is_made_of_a_delivery_that_is_lost(bench):
    await bench.publish(b"{}")
    delivery = await arrived(bench)
    await bench.lose()
    assert not await delivery.settle(settlement(Dead(FAILURE)))
    await (await arrived(bench)).settle(settlement(Completed()))
    assert await bench.waiting(DEAD_QUEUE) == 0


@pytest.mark.parametrize("returned", ["given back", "lost"])
async def test_a_message_that_is_returned_too_often_is_dead(bench, returned):
    if returned == "given back" and bench.version >= (4, 3):
        # This broker counts a message of a lost connection only.
        returned = "lost"
    await bench.publish(b"{}", message_id="j1")
    async with asyncio.timeout(60):
        while not await bench.waiting(DEAD_QUEUE):
            delivery = await bench.consumer.next(wait=False)
            if delivery is not None and returned == "lost":
                await bench.lose()
            elif delivery is not None:
                await delivery.give_back()
    await count(bench, DEATHS, 1)
    death = await bench.consumer.death()
    assert death.headers["x-death"][0]["reason"] == "delivery_limit"
    await death.settle(Settlement(Completed()))
