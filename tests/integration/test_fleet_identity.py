"""One broker, one database: a worker, a submitter and a person get an error when theirs is another one."""

from __future__ import annotations

import asyncio
import json

import pika
import pytest

from infra.broker import mark
from tests.support.command_line import message
from tests.support.databases import provision
from worker.adapters.checks import services
from worker.adapters.rabbitmq import Link
from worker.adapters.rabbitmq.admin import RabbitAdmin
from worker.adapters.sql import SqlRepository
from worker.core.errors import Misconfigured
from worker.core.routing import FLEET

pytestmark = pytest.mark.xdist_group("rabbitmq")


@pytest.fixture
async def other(tmp_path):
    rows = SqlRepository(provision(tmp_path / "other.db"))
    yield rows
    await rows.close()


@pytest.fixture
def unmarked(provisioned_broker):
    """A broker that belongs to nobody, before and after."""

    def clear():
        with pika.BlockingConnection(pika.URLParameters(provisioned_broker)) as connection:
            connection.channel().exchange_delete(FLEET)

    clear()
    yield provisioned_broker
    clear()


async def test_each_database_has_an_identity_that_stays(repository, other):
    mine = await repository.identity()
    assert mine == await repository.identity()
    assert len(mine) == 32
    assert mine != await other.identity()


async def test_a_worker_of_another_database_is_refused(unmarked, repository, other):
    link = Link(unmarked, "a worker", confirms=False, wait_seconds=5)
    await link.require_fleet(await other.identity())
    await asyncio.to_thread(mark, unmarked, await repository.identity())
    await asyncio.to_thread(mark, unmarked, await repository.identity())
    await link.require_fleet(await repository.identity())
    with pytest.raises(Misconfigured, match=r"fleet of another database: check WORKER_DATABASE_URL"):
        await link.require_fleet(await other.identity())
    await link.close()


async def test_the_doctor_says_that_broker_and_database_are_not_of_one_fleet(unmarked, repository, other):
    await asyncio.to_thread(mark, unmarked, await repository.identity())
    assert (await services.fleet(RabbitAdmin(unmarked), repository)).status == "ok"
    with pytest.raises(Misconfigured, match="another database"):
        await services.fleet(RabbitAdmin(unmarked), other)


async def test_a_second_database_cannot_take_a_broker_over(unmarked, repository, other):
    await asyncio.to_thread(mark, unmarked, await repository.identity())
    with pytest.raises(Misconfigured, match="another database"):
        await asyncio.to_thread(mark, unmarked, await other.identity())


def test_a_job_is_not_submitted_into_another_fleet(cli_with_broker, unmarked, tmp_path):
    mark(unmarked, "0" * 32)
    path = tmp_path / "job.json"
    path.write_bytes(message("mine"))
    answer = cli_with_broker.type("submit", str(path))
    assert answer.code != 0
    assert "another database" in answer.err
    assert json.loads(cli_with_broker.type("jobs", "--json").out) == []
