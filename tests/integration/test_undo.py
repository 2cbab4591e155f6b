"""What a job replaced or deleted can be put back whole, whatever was killed in between."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.support.engine import Harness, document
from worker.adapters.sql.schema import jobs, moment
from worker.adapters.sql.schema.intake import originals as table
from worker.adapters.storage.hidden import UNDO_FOLDER
from worker.adapters.storage.nas.originals import NasOriginals
from worker.adapters.storage.nas.reading import NasReader
from worker.app.control import modules
from worker.app.undoing import KeptFiles
from worker.control import Conflict, Control, NotFound
from worker.control.undo import forget, list_originals, undo
from worker.core.attempt import Attempt, Completed, Dead
from worker.core.errors import BadInput, LeaseLost
from worker.core.message.dialects import decode
from worker.engine.attempt.lease import Lease
from worker.engine.attempt.originals import restore_interrupted
from worker.engine.attempt.run import LocalProduction
from worker.engine.executor import Executor
from worker.engine.host.purge import Purger
from worker.engine.storages import Storages
from worker.tasks.cleanup import CleanupTask

pytestmark = pytest.mark.xdist_group("rabbitmq")


@pytest.fixture
async def harness(provisioned_broker, broker, repository, tmp_path):
    harness = Harness(provisioned_broker, repository, tmp_path, more_tasks=(CleanupTask(),))
    keeper = NasOriginals(harness.storage, (harness.storage,))
    harness.resources = replace(harness.resources, storages=Storages.of((harness.nas,), keepers=(keeper,)))
    harness.executor = Executor(
        harness.resources, harness.policy, LocalProduction(harness.resources), worker_id="tester-1", lanes=("cpu",),
        lease_seconds=3600.0,
    )  # fmt: skip
    yield harness
    await harness.close()


@pytest.fixture
def control(repository):
    return Control(repository, lambda: None, modules, 15.0)


@pytest.fixture
def files(harness):
    return KeptFiles(harness.resources.storages, harness.resources.storages.keepers)


def replacing(source, text="new"):
    """Return a job that writes a text, then puts it in the place of the source."""
    move = {"source": "out.txt", "destination": str(source), "overwrite": True}
    return document(
        tasks=[
            {"module": "write", "data": {"name": "out.txt", "text": text}},
            {"module": "cleanup", "data": {"move": [move]}},
        ]
    )


def kept(harness):
    return sorted(path.read_text() for path in harness.storage.rglob(f"{UNDO_FOLDER}/*"))


async def test_a_replaced_source_is_put_back_whole_with_its_times(harness, broker, control, files):
    source = harness.storage / "film.txt"
    source.write_text("original")
    os.utime(source, ns=(1_000_000_000, 2_000_000_003))
    job = replacing(source)
    await broker.publish(job)
    assert isinstance((await harness.one()).outcome, Completed)
    assert (source.read_text(), kept(harness)) == ("new", ["original"])
    listed = await list_originals(control)
    assert [(one.job_id, one.bytes, one.new_bytes) for one in listed] == [(job["job_id"], 8, 3)]
    done = await undo(control, files, job["job_id"])
    assert [one.uri for one in done.restored] == ["nas://film.txt"]
    assert (source.read_text(), source.stat().st_mtime_ns) == ("original", 2_000_000_003)
    assert not list(harness.storage.rglob(".leveret*"))
    with pytest.raises(NotFound, match="it was undone before"):
        await undo(control, files, job["job_id"])


async def test_a_deleted_source_comes_back_and_a_redelivery_deletes_nothing_again(harness, broker, control, files):
    source = harness.storage / "film.txt"
    source.write_text("original")
    job = document(tasks=[{"module": "write", "data": {}}, {"module": "cleanup", "data": {"delete": [str(source)]}}])
    await broker.publish(job)
    await harness.one()
    assert not source.exists()
    source.write_text("another film")
    with pytest.raises(Conflict, match="another file is there now"):
        await undo(control, files, job["job_id"])
    # Its acknowledgement was lost, and so was the note that the deletion is done: the message comes again.
    await repository_forgets_deletion(harness, job["job_id"], "nas://film.txt")
    await broker.publish(job)
    await harness.one()
    assert source.read_text() == "another film"
    source.unlink()
    done = await undo(control, files, job["job_id"])
    assert source.read_text() == "original"
    assert [uri.rpartition("/")[2] for uri in done.stays] == ["out.txt"]


async def repository_forgets_deletion(harness, job_id, uri):
    await harness.repository._database.write(
        lambda connection: connection.execute(
            jobs.update().where(jobs.c.job_id == job_id).values(pending_deletions=[uri])
        )
    )


@pytest.mark.parametrize("step", ["announced", "kept", "revealing", "published", "recorded"])
async def test_a_worker_killed_while_it_replaces_leaves_a_whole_original(
    harness, broker, control, files, step, monkeypatch
):
    source = harness.storage / "film.txt"
    source.write_text("original")
    seen = []
    stopped = asyncio.Event()

    async def on_step(name):
        if name == step:
            stopped.set()
            # As good as killed: nothing of it goes on, and nothing of it is cleaned up.
            await asyncio.Event().wait()

    async def on_run(context):
        seen.append(source.read_text())

    harness.on_step, harness.task.on_run = on_step, on_run
    job = replacing(source)
    await broker.publish(job)
    renews = Lease.start
    monkeypatch.setattr(Lease, "start", lambda self, on_end: None)
    killed = asyncio.create_task(harness.one(seconds=60))
    async with asyncio.timeout(20):
        await stopped.wait()
    monkeypatch.setattr(Lease, "start", renews)
    # Another worker takes the job after the lease: it works from the original, not from what was made of it.
    await _expire(harness, job["job_id"])
    await harness.consumer.close()
    again = Harness(harness.url, harness.repository, harness.folder, "tester-2", more_tasks=(CleanupTask(),))
    again.resources = replace(again.resources, storages=harness.resources.storages)
    again.executor = Executor(
        again.resources, again.policy, LocalProduction(again.resources), worker_id="tester-2", lanes=("cpu",),
        lease_seconds=5.0,
    )  # fmt: skip
    again.task.on_run = on_run
    try:
        await again.until(job["job_id"], "completed")
        if step == "recorded":
            await again.one()
    finally:
        await again.close()
        killed.cancel()
        await asyncio.gather(killed, return_exceptions=True)
    assert seen == ["original"] * (1 if step == "recorded" else 2)
    assert (source.read_text(), kept(harness)) == ("new", ["original"])
    await undo(control, files, job["job_id"])
    assert source.read_text() == "original"


async def _expire(harness, job_id):
    await harness.repository._database.write(
        lambda connection: connection.execute(
            jobs.update().where(jobs.c.job_id == job_id).values(lease_until=moment(-1))
        )
    )


async def test_a_job_that_dies_after_it_replaced_can_be_undone(harness, broker, control, files):
    source = harness.storage / "film.txt"
    source.write_text("original")
    job = replacing(source)

    async def on_step(name):
        if name == "published":
            raise BadInput("the record is refused")

    harness.on_step = on_step
    await broker.publish(job)
    assert isinstance((await harness.one()).outcome, Dead)
    await undo(control, files, job["job_id"])
    assert source.read_text() == "original"


async def test_undo_says_what_is_in_the_way_and_touches_nothing_then(harness, broker, control, files):
    source = harness.storage / "film.txt"
    source.write_text("original")
    job = replacing(source)
    await broker.publish(job)
    await harness.one()
    source.write_text("edited by hand since")
    with pytest.raises(Conflict, match="it was changed since"):
        await undo(control, files, job["job_id"])
    assert (source.read_text(), kept(harness)) == ("edited by hand since", ["original"])
    with pytest.raises(NotFound):
        await undo(control, files, "no-such-job")
    await forget(control, files, job["job_id"])
    assert kept(harness) == []
    with pytest.raises(NotFound, match="too old"):
        await undo(control, files, job["job_id"])


async def test_an_undo_killed_before_its_note_is_finished_by_the_next(harness, broker, control, files):
    source = harness.storage / "film.txt"
    source.write_text("original")
    job = replacing(source)
    await broker.publish(job)
    await harness.one()
    (original,) = await harness.repository.originals(job["job_id"])
    assert await files.put_back(original, replace=True)
    with pytest.raises(NotFound, match="undone before"):
        await undo(control, files, job["job_id"])
    assert source.read_text() == "original"


# ------------------------------------------------------------------ purging


def purger(harness, seconds=3600.0, most=1 << 40):
    reader = NasReader(harness.storage, (harness.storage,))
    readers = dict.fromkeys(reader.schemes, reader)
    return Purger(harness.repository, harness.resources.storages, readers, seconds, most)


async def _age(harness, **values):
    await harness.repository._database.write(lambda connection: connection.execute(table.update().values(**values)))


async def test_an_old_original_goes_once_what_replaced_it_was_read_whole(harness, broker):
    source = harness.storage / "film.txt"
    source.write_text("original")
    await broker.publish(replacing(source))
    await harness.one()
    assert await purger(harness).purge() == 0
    await _age(harness, kept_at=moment(-7200))
    assert await purger(harness).purge() == 1
    assert (kept(harness), source.read_text()) == ([], "new")
    assert not (harness.storage / UNDO_FOLDER).exists()


@pytest.mark.parametrize("damage", ["shorter", "other bytes", "gone"])
async def test_an_original_stays_as_long_as_what_replaced_it_is_not_whole(harness, broker, damage):
    source = harness.storage / "film.txt"
    source.write_text("original")
    await broker.publish(replacing(source))
    await harness.one()
    source.unlink() if damage == "gone" else source.write_text({"shorter": "n", "other bytes": "wen"}[damage])
    await _age(harness, kept_at=moment(-7200))
    assert await purger(harness).purge() == 0
    assert kept(harness) == ["original"]
    (row,) = await harness.repository.originals()
    assert "it stays" in row.problem
    # It is not read again before a day has passed, then it is.
    assert await purger(harness).purge() == 0
    source.write_text("new")
    await _age(harness, lease_until=moment(-1))
    assert await purger(harness).purge() == 1


async def test_beyond_the_size_the_oldest_goes_first(harness, broker):
    for name in ("one", "two"):
        source = harness.storage / f"{name}.txt"
        source.write_text(f"original {name}")
        await broker.publish(replacing(source))
        await harness.one()
    assert await purger(harness, most=20).purge() == 1
    assert kept(harness) == ["original two"]


async def test_a_deleted_source_goes_only_after_all_that_its_job_made_was_read(harness, broker):
    source = harness.storage / "film.txt"
    source.write_text("original")
    job = document(tasks=[{"module": "write", "data": {}}, {"module": "cleanup", "data": {"delete": [str(source)]}}])
    await broker.publish(job)
    await harness.one()
    await _age(harness, kept_at=moment(-7200))
    made = harness.storage / job["job_id"] / "out.txt"
    made.write_text("torn!")
    assert await purger(harness).purge() == 0
    made.write_text("hello")
    await _age(harness, lease_until=moment(-1))
    assert await purger(harness).purge() == 1


async def test_two_purgers_at_once_take_different_originals(harness, broker):
    for name in ("one", "two"):
        source = harness.storage / f"{name}.txt"
        source.write_text("original")
        await broker.publish(replacing(source))
        await harness.one()
    await _age(harness, kept_at=moment(-7200))
    counts = await asyncio.gather(purger(harness).purge(), purger(harness).purge())
    assert sum(counts) == 2
    assert kept(harness) == []


async def test_a_worker_that_lost_its_lease_meanwhile_puts_nothing_back(harness, broker):
    """It was stopped after it had read what to restore; its successor has published since."""
    source = harness.storage / "film.txt"
    source.write_text("original")
    job = replacing(source)
    await broker.publish(job)
    await harness.one()
    await harness.repository.set_original(
        job["job_id"], (await harness.repository.originals(job["job_id"]))[0].uri, "planned"
    )
    attempt = Attempt(decode(json.dumps(job).encode(), None), 1, 2, 2, "tester-1", 5.0, datetime.now(UTC))

    async def confirm() -> None:
        raise LeaseLost("tester-2 has it")

    restored = restore_interrupted(harness.repository, harness.resources.storages, attempt, confirm)
    with pytest.raises(LeaseLost):
        await restored
    assert source.read_text() == "new"
