"""The connection to the broker that submissions share: opened once, asked before it is lent, and replaced when lost."""

from __future__ import annotations

import asyncio
from typing import Self

import pytest

from worker.adapters import kept
from worker.adapters.kept import IDLE_SECONDS, KeptBroker
from worker.core.errors import BrokerUnavailable


class Connection:
    """A connection in memory."""

    def __init__(self, network: Network) -> None:
        self.network, self.open, self.closed, self.stuck = network, True, 0, False

    async def __aenter__(self) -> Self:
        await asyncio.sleep(0)
        if self.network.away:
            raise BrokerUnavailable("the broker does not answer")
        self.network.opened.append(self)
        return self

    async def __aexit__(self, *ended: object) -> None:
        self.closed += 1

    async def alive(self) -> bool:
        if self.stuck:
            await asyncio.Event().wait()
        return self.open and not self.network.away


class Network:
    """What connections were opened."""

    def __init__(self) -> None:
        self.opened: list[Connection] = []
        self.tried = 0
        self.away = False
        self.now = 0.0

    def connect(self) -> Connection:
        self.tried += 1
        return Connection(self)


@pytest.fixture
def network():
    return Network()


@pytest.fixture
async def shared(network):
    found = KeptBroker(network.connect, lambda: network.now)
    yield found
    await found.close()


async def use(shared):
    async with shared.lend() as broker:
        await asyncio.sleep(0)
        return broker


async def test_one_connection_serves_many_at_once_and_one_after_another(network, shared):
    used = await asyncio.gather(*(use(shared) for _ in range(20)))
    used.append(await use(shared))
    assert set(used) == set(network.opened)
    assert len(network.opened) == 1


async def test_a_lost_connection_is_replaced_before_it_is_lent_again(network, shared):
    first = await use(shared)
    first.open = False
    assert await use(shared) is not first
    assert first.closed == 1


async def test_a_connection_that_does_not_answer_is_replaced(network, shared, monkeypatch):
    monkeypatch.setattr(kept, "ALIVE_SECONDS", 0.01)
    first = await use(shared)
    first.stuck = True
    assert await use(shared) is not first


async def test_a_broker_that_is_away_refuses_and_serves_again_when_it_is_back(network, shared):
    network.away = True
    with pytest.raises(BrokerUnavailable):
        await use(shared)
    network.away = False
    assert await use(shared) is network.opened[0]


async def test_those_who_wait_for_a_slow_broker_share_its_answer(network, shared):
    network.away = True
    failed = await asyncio.gather(*(use(shared) for _ in range(50)), return_exceptions=True)
    assert {type(one) for one in failed} == {BrokerUnavailable}
    assert network.tried == 1


async def test_a_connection_that_is_lost_in_use_is_closed_when_its_last_user_has_ended(network, shared):
    async with shared.lend() as first:
        first.open = False
        async with shared.lend() as second:
            assert second is not first
        assert first.closed == 0, "somebody uses it still"
    assert first.closed == 1


async def test_a_caller_that_gives_up_leaves_the_connection_to_the_others(network, shared):
    given_up = asyncio.create_task(use(shared))
    other = asyncio.create_task(use(shared))
    await asyncio.sleep(0)
    given_up.cancel()
    assert await other is network.opened[0]
    assert network.opened[0].closed == 0


async def test_a_connection_that_nobody_used_for_long_is_closed_and_one_in_use_is_not(network, shared):
    async with shared.lend() as first:
        network.now += IDLE_SECONDS + 1
        await shared.tend()
        assert first.closed == 0
    await shared.tend()
    assert first.closed == 0, "its last user has only just ended"
    network.now += IDLE_SECONDS + 1
    await shared.tend()
    assert first.closed == 1
    await shared.tend()
    assert first.closed == 1


async def test_a_closed_server_leaves_no_connection(network):
    shared = KeptBroker(network.connect)
    first = await use(shared)
    await shared.close()
    assert first.closed == 1
