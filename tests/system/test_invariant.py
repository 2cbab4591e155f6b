"""The campaign's examination finds each breach that is planted in its world, and none where there is none."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import signal
from pathlib import Path

import psycopg
import pytest

from tests.chaos.campaign import publish_one
from tests.chaos.invariant import Findings, Stores, examine
from tests.chaos.jobs import LARGE_BYTES, make_sources, plan
from tests.chaos.world import World
from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.sql import SqlRepository

pytestmark = [pytest.mark.xdist_group("chaos"), pytest.mark.timeout(200)]

KINDS = ("copy", "large", "permanent", "encode", "encode", "long", "cancelled")
JOB = "chaos-1-{:04}"


async def run(world, jobs):
    """Run all jobs but the one that takes long; its worker is killed in the middle of it, and comes no more."""
    repository = SqlRepository(world.real["WORKER_DATABASE_URL"])
    url = world.real["WORKER_BROKER_URL"]
    try:
        for job in jobs:
            if job.kind not in {"long", "cancelled"}:
                await asyncio.to_thread(publish_one, url, job)
                await until(repository, job, lambda record: record.is_terminal)
        whole = await examine(world, [job for job in jobs if job.kind not in {"long", "cancelled"}])
        for job in jobs:
            if job.kind == "long":
                await asyncio.to_thread(publish_one, url, job)
                await until(repository, job, lambda record: record.attempts and tools(world))
    finally:
        await repository.close()
    world._closing = True
    world.workers[0].send(signal.SIGKILL)
    await asyncio.wait(world._supervisors)
    return whole


async def until(repository, job, reached):
    async with asyncio.timeout(60):
        while (record := await repository.job(job.job_id)) is None or not reached(record):
            await asyncio.sleep(0.05)


def tools(world):
    mark = f"LEVERET_ATTEMPT={world.scratch}".encode()
    return [path for path in Path("/proc").glob("[0-9]*/environ") if mark in read(path)]


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def sql(world, statement, *values):
    with psycopg.connect(world.real["WORKER_DATABASE_URL"], autocommit=True) as connection:
        connection.execute(statement, values)


def plant(world):
    """Break what a product with faults would break."""
    copy = world.nas / "out" / JOB.format(0) / "copy.bin"
    copy.write_bytes(copy.read_bytes()[:-1])
    (copy.parent / ".leveret-1-copy.bin").write_bytes(b"half")
    (copy.parent / "second.bin").write_bytes(b"of another attempt")
    dead = world.nas / "out" / JOB.format(2)
    dead.mkdir()
    (dead / "out.bin").write_bytes(b"half")
    s3 = world.s3()
    s3.create_multipart_upload(Bucket="media", Key=f"chaos/{JOB.format(1)}/.leveret-1-out.bin")
    s3.delete_object(Bucket="media", Key=f"chaos/{JOB.format(1)}/out.bin")
    sql(world, "UPDATE attempts SET outcome = 'crashed' WHERE job_id = %s", JOB.format(3))
    with Publisher(world.real["WORKER_BROKER_URL"]) as publisher:
        letters = [letter.message_id for letter in publisher.dead_letters()]
        publisher.publish_job(json.dumps({}).encode(), "stray", "cpu", "low", dialect="canonical")
    assert letters == [JOB.format(2)]
    sql(world, "UPDATE jobs SET state = 'cancelled' WHERE job_id = %s", JOB.format(2))


async def test_each_breach_is_found_and_none_is_where_there_is_none(tmp_path):
    async with World(tmp_path / "world", count=1) as world:
        await asyncio.to_thread(make_sources, world.nas, world.s3())
        dice = random.Random(4)
        jobs = [plan(index, 1, dice, world.nas, kind) for index, kind in enumerate(KINDS)]
        jobs[0] = onto_nas(jobs[0])
        assert (await run(world, jobs)).breaches == []
        assert f"s3://media/chaos/{JOB.format(1)}/out.bin" in Stores(world).visible_files()
        assert {LARGE_BYTES} in Stores(world).sizes().values()
        sizes = [size for uri, size in Stores(world).sizes().items() if uri.endswith("encoded.mkv")]
        assert len(sizes) == 2
        assert sizes[0] == sizes[1]
        await asyncio.to_thread(plant, world)
        # A tool dies with its worker: one that was let go by accident has only its environment left.
        surviving = await asyncio.create_subprocess_exec(
            "sleep", "60", env={"LEVERET_ATTEMPT": f"{world.scratch}/{JOB.format(5)}.1"}, start_new_session=True
        )
        try:
            found = await examine(world, jobs)
        finally:
            surviving.kill()
            await surviving.wait()
    assert_reported(
        found,
        lost=["0005 (long) is running", "0006 (cancelled) is unknown"],
        doubled=["0003 is completed with 0 completed attempts"],
        torn=[
            "0000/copy.bin is not what is recorded",
            "0000/copy.bin was seen with [299999] bytes, and is whole with [300000]",
            "0000/second.bin stands there, of a job that is completed",
            "0000/second.bin was seen with [18] bytes",
            "0001/out.bin is recorded and not there",
            "0002/out.bin was seen with [4] bytes, and is whole with [2000]",
        ],
        leaked=[
            "0000/.leveret-1-copy.bin stands there",
            "upload of s3://media/chaos/chaos-1-0001/.leveret-1-out.bin stands there",
            "1 messages are left in media.cpu.low",
            "1 messages are left in media.cpu.normal",
            "chaos-1-0002 has a dead letter and is not dead",
            "of an attempt is alive",
            "scratch chaos-1-0005.1 is left",
        ],
    )


def onto_nas(job):
    document = json.loads(job.body)
    copy = {"source": "nas://in/source.bin", "destination": f"nas://out/{job.job_id}/copy.bin"}
    document |= {"destination": f"nas://out/{job.job_id}/", "tasks": [{"module": "cleanup", "data": {"copy": [copy]}}]}
    return dataclasses.replace(job, body=json.dumps(document).encode())


def assert_reported(found: Findings, **wanted):
    for kind, texts in wanted.items():
        reported = getattr(found, kind)
        for text in texts:
            assert any(text in one for one in reported), f"{kind}: {text} is not in {reported}"
        assert len(reported) == len(texts), reported
