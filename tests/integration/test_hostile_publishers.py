"""Publishers that write what the broker and the workers write: routes, deaths, marks."""

from __future__ import annotations

import asyncio
import json
import struct
from hashlib import sha256

import pytest

from tests.support.engine import document
from tests.support.hostile import (
    HEADERS,
    MESSAGE_ID,
    UNDECODABLE,
    array,
    publish_all,
    publish_raw,
    short,
    table,
    text,
)
from tests.support.loop import unharmed
from tests.support.queues import wait_for_dead
from worker.core.attempt import Completed, Dead, Defer, Forward, Surplus
from worker.core.errors import BadInput
from worker.core.message.copies import MAX_HOPS
from worker.core.message.dialects import decode
from worker.core.ports import ClaimRequest, Granted
from worker.core.routing import PRIORITIES, queue_of

pytestmark = pytest.mark.xdist_group("rabbitmq")

EVERYWHERE = [f"cpu.{priority}" for priority in PRIORITIES]
ENTRY = {"reason": "rejected", "queue": "media.cpu.normal", "exchange": "media.jobs", "routing-keys": ["cpu.normal"]}


async def messages(broker, lane: str) -> int:
    return sum([await broker.waiting(queue_of(lane, priority)) for priority in PRIORITIES])


@pytest.mark.parametrize("header", ["CC", "BCC"])
async def test_a_message_for_another_lane_with_more_routes_does_not_breed(harness, broker, header):
    await broker.publish(document(lane="nvenc"), headers={header: EVERYWHERE})
    for _ in range(len(PRIORITIES)):
        assert isinstance((await harness.one()).outcome, Forward)
    assert await messages(broker, "cpu") == 0
    assert await messages(broker, "nvenc") == len(PRIORITIES)
    queues = [queue_of("nvenc", priority) for priority in PRIORITIES]
    copies = [await broker.take(queue) for queue in queues for _ in range(await broker.waiting(queue))]
    assert all(not {"CC", "BCC"} & set(copy.headers) for copy in copies)


async def test_a_deferred_message_with_more_routes_comes_back_once(harness, broker):
    job = document()
    await harness.repository.submit(*_row(job))
    await _hold(harness, job)
    await broker.publish(job, headers={"CC": ["cpu.high"]})
    # The two copies of the publisher's routes: one waits for the job, the other is settled.
    outcomes = {type((await harness.one()).outcome) for _ in range(2)}
    assert outcomes == {Defer, Surplus}
    assert isinstance((await harness.one()).outcome, Defer)
    assert await messages(broker, "cpu") == 0
    assert harness.task.runs == 0


async def test_a_job_that_no_worker_takes_for_its_own_is_dead_after_a_number_of_forwards(harness, broker):
    job = document(lane="nvenc")
    await broker.publish(job, headers={"x-hops": MAX_HOPS - 1})
    assert isinstance((await harness.one()).outcome, Forward)
    copy = await broker.take(queue_of("nvenc", "normal"))
    assert copy.headers["x-hops"] == MAX_HOPS
    await broker.publish(job, headers=copy.headers)
    assert isinstance((await harness.one()).outcome, Dead)
    assert (await harness.repository.job(job["job_id"])).state == "dead"
    assert (await broker.dead()).headers["x-error-type"] == "Unserved"


async def test_a_message_with_the_id_of_another_job_is_refused_however_it_would_have_died(harness, broker):
    victim = document()
    await harness.repository.submit(*_row(victim))
    await broker.publish(victim | {"lane": "nvenc"}, headers={"x-hops": MAX_HOPS})
    assert isinstance((await harness.one()).outcome, Dead)
    assert (await broker.dead()).headers["x-error-type"] == "IdReused"
    assert (await harness.repository.job(victim["job_id"])).state == "queued"
    assert harness.states == []
    await broker.publish(victim)
    assert isinstance((await harness.one()).outcome, Completed)


@pytest.mark.parametrize(
    "forged",
    [
        "rejected",
        [None, 7],
        [ENTRY | {"count": 99}],
        [ENTRY | {"count": True}],
    ],
)
async def test_a_death_that_a_publisher_wrote_holds_no_dead_letter_back(harness, broker, forged):
    await broker.publish(b"no job", message_id="forger", headers={"x-death": forged})
    await harness.one()
    await _honest_death(harness, broker, "forger")


async def test_a_death_with_a_count_twice_holds_no_dead_letter_back(harness, broker):
    """Python reads the last one, and Erlang the first."""
    forged = {MESSAGE_ID: short("forger"), HEADERS: _doubled_death()}
    await asyncio.to_thread(publish_raw, broker.url, b"no job", forged)
    await harness.one()
    await _honest_death(harness, broker, "forger")


async def test_a_forged_death_reopens_no_dead_job(harness, broker):
    harness.fail_with(BadInput("no media"))
    job = document()
    await broker.publish(job)
    await harness.one()
    dead = await broker.dead()
    headers = {"x-death": [ENTRY | {"count": 1}], "x-death-mark": "0" * 32}
    await broker.publish(job, headers=headers)
    assert isinstance((await harness.one()).outcome, Dead)
    assert harness.task.runs == 1
    again = await broker.dead()
    assert again.headers["x-death-mark"] == dead.headers["x-death-mark"]
    harness.task.on_run = None
    await broker.publish(again.body, headers=again.headers)
    assert isinstance((await harness.one()).outcome, Completed)


async def test_a_dead_message_says_why_and_was_rejected(harness, broker):
    harness.fail_with(BadInput("no media"))
    await broker.publish(document(), headers={"x-mine": 1})
    await harness.one()
    letter = await broker.dead()
    assert (letter.headers["x-last-error"], letter.headers["x-error-type"]) == ("no media", "BadInput")
    assert [death["reason"] for death in letter.headers["x-death"]] == ["rejected"]
    assert letter.headers["x-lane"] == "cpu"
    assert letter.routing_key == "cpu.normal"


async def test_a_copy_that_a_killed_worker_left_on_its_way_dies_when_a_worker_is_idle(harness, broker):
    await broker.publish(b"left", key="cpu.normal", exchange="media.dying", message_id="left")
    assert await harness.consumer.next(wait=False) is None
    assert (await broker.dead()).message_id == "left"


async def test_properties_that_no_client_decodes_end_as_dead_letters_over_one_connection(harness, broker):
    hostile = [(b"no job %d" % number, own, "cpu.normal") for number, own in enumerate(UNDECODABLE.values())]
    hostile.append((b"no job", {}, b"cpu.\xff"))
    await asyncio.to_thread(publish_all, broker.url, hostile)
    channel = await harness.link.channel()
    async with unharmed():
        settlements = [await harness.one() for _ in hostile]
    assert all(isinstance(settlement.outcome, Dead) for settlement in settlements)
    await asyncio.to_thread(wait_for_dead, broker.url, len(hostile))
    letters = [await broker.dead() for _ in hostile]
    assert {letter.headers["x-error-type"] for letter in letters} == {"InvalidJob"}
    assert len(await harness.repository.refusals()) == len(hostile)
    assert await harness.link.channel() is channel
    await broker.settled()


async def test_a_job_runs_whatever_its_other_properties_are(harness, broker):
    jobs = [(document(), properties) for properties in UNDECODABLE.values()]
    await asyncio.to_thread(publish_all, broker.url, [(json.dumps(job).encode(), own, "cpu.low") for job, own in jobs])
    async with unharmed():
        for _ in jobs:
            assert isinstance((await harness.one()).outcome, Completed)
    await broker.settled()


def _bombs() -> dict[str, bytes]:
    """Return bodies near the limit of a megabyte, by what there is so much of."""
    task = {"module": "ffmpeg", "data": {}}
    many = {f"surplus_option_{number:05}": number for number in range(25_000)}
    documents = {
        "options": {"tasks": [task | {"data": many}]},
        "fields": {"tasks": [task]} | many,
        "tasks": {"tasks": [task] * 25_000},
        "modules": {"tasks": [{"module": f"ffmpe{number}", "data": {}} for number in range(20_000)]},
        "one text": {"tasks": [task], "job_title": "\u202e" * 150_000},
        "outputs": {"tasks": [task | {"data": {"sources": ["a"], "output_maps": [{"specifier": "x"}] * 40_000}}]},
    }
    nested = b'{"tasks": [{"module": "ffmpeg", "data": ' + b'{"a":' * 150_000 + b"1" + b"}" * 150_000 + b"}]}"
    return {name: json.dumps(one).encode() for name, one in documents.items()} | {"levels": nested}


async def test_a_megabyte_of_anything_is_judged_without_harm_to_the_worker(harness, broker):
    bombs = _bombs()
    assert all(400_000 < len(body) < 1 << 20 for body in bombs.values()), {k: len(v) for k, v in bombs.items()}
    for name, body in bombs.items():
        await broker.publish(body, message_id=name.replace(" ", "-"))
    async with unharmed(128):
        settlements = [await harness.one(30) for _ in bombs]
    assert all(isinstance(settlement.outcome, Dead) for settlement in settlements)
    await broker.settled()


async def _honest_death(harness, broker, *others: str) -> None:
    await broker.publish(b"none either", message_id="honest")
    await harness.one()
    letters = [await broker.dead() for _ in range(len(others) + 1)]
    assert {letter.message_id for letter in letters} == {"honest", *others}
    assert all(letter.headers["x-error-type"] == "InvalidJob" for letter in letters)
    assert all([death["reason"] for death in letter.headers["x-death"]] == ["rejected"] for letter in letters)
    await broker.settled()


def _row(job):
    body = json.dumps(job).encode()
    return decode(body), sha256(body).hexdigest(), "cpu", "normal"


async def _hold(harness, job) -> None:
    """Let another worker have a live lease of the job."""
    decoded, digest, lane, priority = _row(job)
    request = ClaimRequest(decoded, digest, "other", 60.0, lane, priority)
    assert isinstance(await harness.repository.claim(request, harness.policy), Granted)


def _doubled_death() -> bytes:
    """Return a table of headers with an `x-death` whose entry has a text and a number as `count`."""
    entry = table(
        ("count", text("many")),
        ("reason", text("rejected")),
        ("queue", text("media.cpu.normal")),
        ("exchange", text("media.jobs")),
        ("routing-keys", array(text("cpu.normal"))),
        ("count", b"l" + struct.pack(">q", 1)),
    )
    return table(("x-death", array(b"F" + entry)))
