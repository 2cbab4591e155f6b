"""A job is a transaction: all of it becomes visible or none, and nothing is deleted before its record stands."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.support.engine import Harness, document
from worker.app.chores import chores_of
from worker.core.attempt import Completed, Dead, Defer, Retry
from worker.core.errors import DiskFull, SourceMissing, StorageUnavailable
from worker.engine.attempt.run import LocalProduction
from worker.engine.executor import Executor
from worker.tasks.cleanup import CleanupTask

pytestmark = pytest.mark.xdist_group("rabbitmq")


@pytest.fixture
async def harness(provisioned_broker, broker, repository, tmp_path):
    harness = Harness(provisioned_broker, repository, tmp_path, more_tasks=(CleanupTask(),))
    yield harness
    await harness.close()


def visible(harness: Harness) -> dict[str, str]:
    """Return every file under the storage, hidden ones too."""
    return {
        str(path.relative_to(harness.storage)): path.read_text()
        for path in harness.storage.rglob("*")
        if path.is_file()
    }


def write(name: str, text: str = "hello") -> dict[str, object]:
    return {"module": "write", "data": {"name": name, "text": text}}


def cleanup(**data: object) -> dict[str, object]:
    return {"module": "cleanup", "data": data}


async def run(harness: Harness, broker, *tasks: dict[str, object], **fields: object):
    job = document(tasks=list(tasks), **fields)
    await broker.publish(job)
    return job["job_id"], await harness.one()


async def test_several_outputs_are_below_the_job_s_place_and_nothing_else_is(harness, broker):
    job_id, _ = await run(harness, broker, write("a.txt"), write("sub/b.txt", "two"))
    assert visible(harness) == {f"{job_id}/a.txt": "hello", f"{job_id}/sub/b.txt": "two"}


async def test_a_failed_task_leaves_no_output_of_the_earlier_ones_visible(harness, broker):
    async def on_run(_context):
        if harness.task.runs == 2:
            raise SourceMissing("away")

    harness.task.on_run = on_run
    await run(harness, broker, write("a.txt"), write("b.txt"))
    assert visible(harness) == {}


async def test_an_external_file_is_deleted_only_after_the_record(harness, broker):
    source = harness.storage / "source.txt"
    source.write_text("precious")

    async def look(step):
        if step in {"published", "ran"}:
            assert source.exists()

    harness.on_step = look
    job_id, settlement = await run(harness, broker, write("a.txt"), cleanup(delete=[str(source)]))
    assert isinstance(settlement.outcome, Completed)
    assert visible(harness) == {f"{job_id}/a.txt": "hello"}


async def test_a_failed_job_deletes_nothing(harness, broker):
    source = harness.storage / "source.txt"
    source.write_text("precious")
    _, settlement = await run(
        harness, broker, cleanup(delete=[str(source)]), cleanup(verify_exists=[f"{harness.storage}/no"])
    )
    assert isinstance(settlement.outcome, Retry)
    assert source.read_text() == "precious"


async def test_moving_an_external_file_copies_it_first_and_deletes_it_last(harness, broker):
    (harness.storage / "in.txt").write_text("film")
    move = {"source": f"{harness.storage}/in.txt", "destination": f"{harness.storage}/done/out.txt"}
    _, settlement = await run(harness, broker, cleanup(move=[move]))
    assert isinstance(settlement.outcome, Completed)
    assert visible(harness) == {"done/out.txt": "film"}


async def test_a_staged_file_that_is_moved_is_published_there_alone(harness, broker):
    move = {"source": "a.txt", "destination": f"{harness.storage}/done/film.txt"}
    await run(harness, broker, write("a.txt"), cleanup(verify_exists=["a.txt"], move=[move]))
    assert visible(harness) == {"done/film.txt": "hello"}


async def test_a_name_that_a_moved_file_had_is_free_for_another(harness, broker):
    job_id, settlement = await run(
        harness,
        broker,
        write("cut.txt", "first"),
        cleanup(move=[{"source": "cut.txt", "destination": "film1.txt"}]),
        write("cut.txt", "second"),
        cleanup(move=[{"source": "cut.txt", "destination": "film2.txt"}]),
        write("cut.txt/cover.txt", "cover"),
    )
    assert isinstance(settlement.outcome, Completed)
    assert visible(harness) == {
        f"{job_id}/film1.txt": "first",
        f"{job_id}/film2.txt": "second",
        f"{job_id}/cut.txt/cover.txt": "cover",
    }


async def test_a_task_never_writes_over_the_scratch_of_an_earlier_one(harness, broker):
    async def on_run(context):
        path = context.scratch("film/made.txt")
        assert context.scratch("film/made.txt") == path
        path.write_text(f"of run {harness.task.runs}")
        context.adopt(path, f"made{harness.task.runs}.txt")

    harness.task.on_run = on_run
    job_id, _ = await run(harness, broker, write("a.txt"), write("b.txt"))
    made = {f"{job_id}/made{number}.txt": f"of run {number}" for number in (1, 2)}
    assert made.items() <= visible(harness).items()


async def test_outputs_of_one_name_in_several_folders_never_share_their_bytes(harness, broker):
    one, two, three = (f"{harness.storage}/{folder}/a.txt" for folder in ("one", "two", "three"))
    await run(harness, broker, write(one, "1"), write(two, "2"), cleanup(delete=[one]), write(three, "3"))
    assert visible(harness) == {"two/a.txt": "2", "three/a.txt": "3"}


async def test_a_staged_file_that_is_deleted_is_never_published(harness, broker):
    job_id, _ = await run(harness, broker, write("a.txt"), write("b.txt"), cleanup(delete=["a.txt"]))
    assert visible(harness) == {f"{job_id}/b.txt": "hello"}


@pytest.mark.parametrize(
    ("tasks", "word"),
    [
        ([cleanup(verify_exists=["never.txt"])], "made by no earlier task"),
        ([cleanup(delete=["never.txt"])], "made by no earlier task"),
        ([write("a.txt"), cleanup(delete=["a.txt"]), cleanup(verify_exists=["a.txt"])], "made by no earlier task"),
        ([cleanup(delete=["/etc/passwd"])], "/etc/passwd"),
        ([write("a.txt"), cleanup(delete=["nas://in/"])], "is a folder"),
        ([cleanup(copy=[{"source": "/etc/passwd", "destination": "x"}])], "/etc/passwd"),
        ([write("../escape.txt")], "leaves the workspace"),
        ([write("/tmp/escape.txt")], "/tmp/escape.txt"),  # noqa: S108 - a place that is refused
        ([write("s3://bucket/escape.txt")], "s3:// is not set up"),
        ([write("x.txt"), {"module": "rite", "data": {}}], "did you mean 'write'?"),
    ],
)
async def test_a_job_that_could_never_work_is_refused_before_anything_runs(harness, broker, tasks, word):
    job_id, settlement = await run(harness, broker, *tasks)
    assert isinstance(settlement.outcome, Dead)
    assert word in (await harness.repository.job(job_id)).error
    assert harness.task.runs == 0
    assert visible(harness) == {}


async def test_all_problems_of_all_tasks_are_reported_at_once(harness, broker):
    tasks = [write("../x"), {"module": "rite", "data": {}}, cleanup(delete=["never.txt"])]
    job_id, _ = await run(harness, broker, *tasks)
    error = (await harness.repository.job(job_id)).error
    for word in ("tasks[0].data.name", "tasks[1]", "tasks[2].data.delete[0]"):
        assert word in error


async def test_a_missing_source_is_transient_for_a_mount_may_come_back(harness, broker):
    _, settlement = await run(harness, broker, cleanup(verify_exists=[f"{harness.storage}/not-yet.txt"]))
    assert isinstance(settlement.outcome, Retry)
    assert "not-yet.txt does not exist" in settlement.outcome.failure.message


async def test_an_existing_file_is_not_replaced_without_permission_but_the_job_s_own_output_is(harness, broker):
    target = harness.storage / "library" / "film.txt"
    target.parent.mkdir()
    target.write_text("another's")
    job_id, settlement = await run(harness, broker, write(str(target)))
    assert isinstance(settlement.outcome, Dead)
    assert 'say "overwrite": true' in (await harness.repository.job(job_id)).error
    assert target.read_text() == "another's"
    target.unlink()
    harness.task.runs = 0

    async def on_run(_context):
        if harness.task.runs == 2:
            raise SourceMissing("away")

    harness.task.on_run = on_run
    job_id, _ = await run(harness, broker, write(str(target)), write("b.txt"))
    await harness.until(job_id, "completed")
    assert target.read_text() == "hello"


async def test_after_a_failed_upload_the_retry_uploads_and_does_not_run_the_tasks_again(harness, broker, monkeypatch):
    stage, failures = harness.nas.stage, [StorageUnavailable("the NAS hangs")]

    async def failing(artifacts):
        if failures:
            raise failures.pop()
        await stage(artifacts)

    monkeypatch.setattr(harness.nas, "stage", failing)
    job_id, settlement = await run(harness, broker, write("a.txt"))
    assert isinstance(settlement.outcome, Retry)
    assert visible(harness) == {}
    await harness.until(job_id, "completed")
    assert harness.task.runs == 1
    assert visible(harness) == {f"{job_id}/a.txt": "hello"}
    assert list(harness.scratch.root.iterdir()) == []


async def test_kept_files_are_locked_before_the_database_forgets_them(harness, broker, monkeypatch):
    stage, drop, failures = harness.nas.stage, harness.repository.drop_kept, [StorageUnavailable("the NAS hangs")]
    unclaimed = []

    async def failing(artifacts):
        if failures:
            raise failures.pop()
        await stage(artifacts)

    async def dropping(*whose):
        unclaimed.append(harness.scratch.unheld())
        await drop(*whose)

    monkeypatch.setattr(harness.nas, "stage", failing)
    monkeypatch.setattr(harness.repository, "drop_kept", dropping)
    job_id, _ = await run(harness, broker, write("a.txt"))
    assert len(harness.scratch.unheld()) == 1
    await harness.until(job_id, "completed")
    assert unclaimed[0] == []
    assert harness.task.runs == 1


async def test_kept_files_that_are_gone_are_made_again(harness, broker, monkeypatch):
    stage, failures = harness.nas.stage, [StorageUnavailable("the NAS hangs")]

    async def failing(artifacts):
        if failures:
            raise failures.pop()
        await stage(artifacts)

    monkeypatch.setattr(harness.nas, "stage", failing)
    job_id, _ = await run(harness, broker, write("a.txt"))
    shutil.rmtree(harness.scratch.root)
    await harness.until(job_id, "completed")
    assert harness.task.runs == 2


async def test_a_vanished_destination_charges_nobody_and_the_job_completes_when_it_is_back(harness, broker):
    away = harness.storage.with_name("away")
    moved = asyncio.Event()

    async def take_away(step):
        if step == "announced" and not moved.is_set():
            harness.storage.rename(away)
            moved.set()

    harness.on_step = take_away
    job_id, settlement = await run(harness, broker, write("a.txt"))
    assert isinstance(settlement.outcome, Defer)
    away.rename(harness.storage)
    await harness.until(job_id, "completed")
    assert visible(harness) == {f"{job_id}/a.txt": "hello"}
    assert {attempt.number for attempt in (await harness.repository.job(job_id)).attempts} == {1}


async def test_two_outputs_at_one_place_are_one_file_the_later(harness, broker):
    job_id, _ = await run(harness, broker, write("a.txt", "one"), write("a.txt", "two"))
    assert visible(harness) == {f"{job_id}/a.txt": "two"}


async def test_one_place_under_two_names_is_refused(harness, broker):
    tasks = (write("a.txt"), write(f"{harness.storage}/chosen/a.txt"))
    job_id, settlement = await run(harness, broker, *tasks, destination=f"{harness.storage}/chosen")
    assert isinstance(settlement.outcome, Dead)
    assert "are one place" in (await harness.repository.job(job_id)).error
    assert visible(harness) == {}


async def test_the_output_of_a_task_is_read_under_its_final_name_too(harness, broker):
    copy = {"source": f"{harness.storage}/chosen/a.txt", "destination": "b.txt"}
    await run(harness, broker, write("a.txt"), cleanup(copy=[copy]), destination=f"{harness.storage}/chosen")
    assert visible(harness) == {"chosen/a.txt": "hello", "chosen/b.txt": "hello"}


async def test_a_deletion_that_fails_stops_no_other_and_is_made_by_the_chores_of_any_worker(
    harness, broker, monkeypatch
):
    first, second = harness.storage / "first.txt", harness.storage / "second.txt"
    first.write_text("1")
    second.write_text("2")

    async def turn_into_a_folder(step):
        if step == "recorded":
            first.unlink()
            first.mkdir()

    harness.on_step = turn_into_a_folder
    job_id, settlement = await run(harness, broker, cleanup(delete=[str(first), str(second)]))
    assert isinstance(settlement.outcome, Completed)
    assert not second.exists()
    assert list(await harness.repository.pending_deletions()) == [job_id]
    first.rmdir()
    first.write_text("1")
    chores = chores_of(harness.resources, harness.consumer, "another", harness.lanes, 60.0)
    await chores()
    assert first.exists(), "its own worker may still be at it"
    monkeypatch.setattr("worker.engine.attempt.leftovers.RECENT", (-60.0, 60.0))
    await chores()
    assert not first.exists()
    assert await harness.repository.pending_deletions() == {}


async def test_a_destination_of_the_jobs_own_takes_its_relative_outputs(harness, broker):
    await run(harness, broker, write("a.txt"), destination=f"{harness.storage}/chosen")
    assert visible(harness) == {"chosen/a.txt": "hello"}


async def test_a_timeout_of_the_job_ends_it(harness, broker):
    async def on_run(_context):
        await asyncio.sleep(30)

    harness.task.on_run = on_run
    _, settlement = await run(harness, broker, write("a.txt"), timeout=0.3)
    assert isinstance(settlement.outcome, Retry)
    assert settlement.outcome.failure.error_type == "TimedOut"


async def test_a_job_that_fills_scratch_itself_is_charged(harness, broker, monkeypatch):
    async def on_run(context):
        context.scratch("endless").write_bytes(b"x" * (1 << 20))
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
        raise DiskFull("no space left")

    harness.task.on_run = on_run
    _, settlement = await run(harness, broker, write("a.txt"))
    assert isinstance(settlement.outcome, Retry)
    assert "filled scratch" in settlement.outcome.failure.message


async def test_a_job_of_too_many_files_is_refused_and_shows_none(harness, broker):
    resources = replace(harness.resources, most_outputs=2)
    harness.executor = Executor(
        resources,
        harness.policy,
        LocalProduction(resources),
        worker_id=harness.worker_id,
        lanes=harness.lanes,
        lease_seconds=harness.lease_seconds,
    )
    job_id, settlement = await run(harness, broker, write("a.txt"), write("b.txt"), write("c.txt"))
    assert isinstance(settlement.outcome, Dead)
    assert "more than 2 files" in (await harness.repository.job(job_id)).error
    assert visible(harness) == {}
    job_id, _ = await run(harness, broker, write("a.txt"), write("b.txt"), write("a.txt"))
    assert visible(harness) == {f"{job_id}/a.txt": "hello", f"{job_id}/b.txt": "hello"}
