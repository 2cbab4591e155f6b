"""A job is a transaction: all of it becomes visible or none, and nothing is deleted before its record stands."""

from __future__ import annotations

import asyncio
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from rig import Rig, document

from worker.core.attempt import Completed, Dead, Defer, Retry
from worker.core.errors import DiskFull, SourceMissing, StorageUnavailable
from worker.engine.executor import Executor
from worker.tasks.cleanup import CleanupTask

pytestmark = pytest.mark.xdist_group("rabbitmq")


@pytest.fixture
async def rig(provisioned_broker, broker, repository, tmp_path):
    rig = Rig(provisioned_broker, repository, tmp_path, more_tasks=(CleanupTask(),))
    yield rig
    await rig.close()


def visible(rig: Rig) -> dict[str, str]:
    """Return every file under the storage, hidden ones too."""
    return {str(path.relative_to(rig.storage)): path.read_text() for path in rig.storage.rglob("*") if path.is_file()}


def write(name: str, text: str = "hello") -> dict[str, object]:
    return {"module": "write", "data": {"name": name, "text": text}}


def cleanup(**data: object) -> dict[str, object]:
    return {"module": "cleanup", "data": data}


async def run(rig: Rig, broker, *tasks: dict[str, object], **fields: object):
    job = document(tasks=list(tasks), **fields)
    await broker.publish(job)
    return job["job_id"], await rig.one()


async def test_several_outputs_stand_under_the_job_and_nothing_else_does(rig, broker):
    job_id, _ = await run(rig, broker, write("a.txt"), write("sub/b.txt", "two"))
    assert visible(rig) == {f"{job_id}/a.txt": "hello", f"{job_id}/sub/b.txt": "two"}


async def test_when_a_later_task_fails_nothing_of_the_earlier_ones_is_visible(rig, broker):
    async def on_run(_context):
        if rig.task.runs == 2:
            raise SourceMissing("away")

    rig.task.on_run = on_run
    await run(rig, broker, write("a.txt"), write("b.txt"))
    assert visible(rig) == {}


async def test_an_external_file_is_deleted_only_after_the_record(rig, broker):
    source = rig.storage / "source.txt"
    source.write_text("precious")

    async def look(step):
        if step in {"published", "ran"}:
            assert source.exists()

    rig.on_step = look
    job_id, settlement = await run(rig, broker, write("a.txt"), cleanup(delete=[str(source)]))
    assert isinstance(settlement.outcome, Completed)
    assert visible(rig) == {f"{job_id}/a.txt": "hello"}


async def test_a_failed_job_deletes_nothing(rig, broker):
    source = rig.storage / "source.txt"
    source.write_text("precious")
    _, settlement = await run(rig, broker, cleanup(delete=[str(source)]), cleanup(verify_exists=[f"{rig.storage}/no"]))
    assert isinstance(settlement.outcome, Retry)
    assert source.read_text() == "precious"


async def test_moving_an_external_file_copies_it_first_and_deletes_it_last(rig, broker):
    (rig.storage / "in.txt").write_text("film")
    move = {"source": f"{rig.storage}/in.txt", "destination": f"{rig.storage}/done/out.txt"}
    _, settlement = await run(rig, broker, cleanup(move=[move]))
    assert isinstance(settlement.outcome, Completed)
    assert visible(rig) == {"done/out.txt": "film"}


async def test_a_staged_file_that_is_moved_is_published_there_alone(rig, broker):
    move = {"source": "a.txt", "destination": f"{rig.storage}/done/film.txt"}
    await run(rig, broker, write("a.txt"), cleanup(verify_exists=["a.txt"], move=[move]))
    assert visible(rig) == {"done/film.txt": "hello"}


async def test_a_name_that_a_moved_file_had_is_free_for_another(rig, broker):
    job_id, settlement = await run(
        rig,
        broker,
        write("cut.txt", "first"),
        cleanup(move=[{"source": "cut.txt", "destination": "film1.txt"}]),
        write("cut.txt", "second"),
        cleanup(move=[{"source": "cut.txt", "destination": "film2.txt"}]),
        write("cut.txt/cover.txt", "cover"),
    )
    assert isinstance(settlement.outcome, Completed)
    assert visible(rig) == {
        f"{job_id}/film1.txt": "first",
        f"{job_id}/film2.txt": "second",
        f"{job_id}/cut.txt/cover.txt": "cover",
    }


async def test_a_task_never_writes_over_the_scratch_of_an_earlier_one(rig, broker):
    async def on_run(context):
        path = context.scratch("film/made.txt")
        assert context.scratch("film/made.txt") == path
        path.write_text(f"of run {rig.task.runs}")
        context.adopt(path, f"made{rig.task.runs}.txt")

    rig.task.on_run = on_run
    job_id, _ = await run(rig, broker, write("a.txt"), write("b.txt"))
    made = {f"{job_id}/made{number}.txt": f"of run {number}" for number in (1, 2)}
    assert made.items() <= visible(rig).items()


async def test_outputs_of_one_name_in_several_folders_never_share_their_bytes(rig, broker):
    one, two, three = (f"{rig.storage}/{folder}/a.txt" for folder in ("one", "two", "three"))
    await run(rig, broker, write(one, "1"), write(two, "2"), cleanup(delete=[one]), write(three, "3"))
    assert visible(rig) == {"two/a.txt": "2", "three/a.txt": "3"}


async def test_a_staged_file_that_is_deleted_is_never_published(rig, broker):
    job_id, _ = await run(rig, broker, write("a.txt"), write("b.txt"), cleanup(delete=["a.txt"]))
    assert visible(rig) == {f"{job_id}/b.txt": "hello"}


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
async def test_a_job_that_could_never_work_is_refused_before_anything_runs(rig, broker, tasks, word):
    job_id, settlement = await run(rig, broker, *tasks)
    assert isinstance(settlement.outcome, Dead)
    assert word in (await rig.repository.job(job_id)).error
    assert rig.task.runs == 0
    assert visible(rig) == {}


async def test_all_problems_of_all_tasks_are_told_at_once(rig, broker):
    tasks = [write("../x"), {"module": "rite", "data": {}}, cleanup(delete=["never.txt"])]
    job_id, _ = await run(rig, broker, *tasks)
    error = (await rig.repository.job(job_id)).error
    for word in ("tasks[0].data.name", "tasks[1]", "tasks[2].data.delete[0]"):
        assert word in error


async def test_a_missing_source_is_transient_for_a_mount_may_come_back(rig, broker):
    _, settlement = await run(rig, broker, cleanup(verify_exists=[f"{rig.storage}/not-yet.txt"]))
    assert isinstance(settlement.outcome, Retry)
    assert "not-yet.txt does not exist" in settlement.outcome.failure.message


async def test_what_stands_there_is_not_replaced_without_leave_but_our_own_output_is(rig, broker):
    target = rig.storage / "library" / "film.txt"
    target.parent.mkdir()
    target.write_text("another's")
    job_id, settlement = await run(rig, broker, write(str(target)))
    assert isinstance(settlement.outcome, Dead)
    assert 'say "overwrite": true' in (await rig.repository.job(job_id)).error
    assert target.read_text() == "another's"
    target.unlink()
    rig.task.runs = 0

    async def on_run(_context):
        if rig.task.runs == 2:
            raise SourceMissing("away")

    rig.task.on_run = on_run
    job_id, _ = await run(rig, broker, write(str(target)), write("b.txt"))
    await rig.until(job_id, "completed")
    assert target.read_text() == "hello"


async def test_after_a_failed_upload_the_retry_uploads_and_does_not_run_the_tasks_again(rig, broker, monkeypatch):
    stage, failures = rig.nas.stage, [StorageUnavailable("the NAS hangs")]

    async def failing(artifacts):
        if failures:
            raise failures.pop()
        await stage(artifacts)

    monkeypatch.setattr(rig.nas, "stage", failing)
    job_id, settlement = await run(rig, broker, write("a.txt"))
    assert isinstance(settlement.outcome, Retry)
    assert visible(rig) == {}
    await rig.until(job_id, "completed")
    assert rig.task.runs == 1
    assert visible(rig) == {f"{job_id}/a.txt": "hello"}
    assert list(rig.scratch.root.iterdir()) == []


async def test_kept_files_are_locked_before_the_database_forgets_them(rig, broker, monkeypatch):
    stage, drop, failures = rig.nas.stage, rig.repository.drop_kept, [StorageUnavailable("the NAS hangs")]
    unclaimed = []

    async def failing(artifacts):
        if failures:
            raise failures.pop()
        await stage(artifacts)

    async def dropping(*whose):
        unclaimed.append(rig.scratch.left())
        await drop(*whose)

    monkeypatch.setattr(rig.nas, "stage", failing)
    monkeypatch.setattr(rig.repository, "drop_kept", dropping)
    job_id, _ = await run(rig, broker, write("a.txt"))
    assert len(rig.scratch.left()) == 1
    await rig.until(job_id, "completed")
    assert unclaimed[0] == []
    assert rig.task.runs == 1


async def test_kept_files_that_are_gone_are_made_again(rig, broker, monkeypatch):
    stage, failures = rig.nas.stage, [StorageUnavailable("the NAS hangs")]

    async def failing(artifacts):
        if failures:
            raise failures.pop()
        await stage(artifacts)

    monkeypatch.setattr(rig.nas, "stage", failing)
    job_id, _ = await run(rig, broker, write("a.txt"))
    shutil.rmtree(rig.scratch.root)
    await rig.until(job_id, "completed")
    assert rig.task.runs == 2


async def test_a_vanished_destination_charges_nobody_and_the_job_completes_when_it_is_back(rig, broker):
    away = rig.storage.with_name("away")
    moved = asyncio.Event()

    async def take_away(step):
        if step == "announced" and not moved.is_set():
            rig.storage.rename(away)
            moved.set()

    rig.on_step = take_away
    job_id, settlement = await run(rig, broker, write("a.txt"))
    assert isinstance(settlement.outcome, Defer)
    away.rename(rig.storage)
    await rig.until(job_id, "completed")
    assert visible(rig) == {f"{job_id}/a.txt": "hello"}
    assert {attempt.number for attempt in (await rig.repository.job(job_id)).attempts} == {1}


async def test_two_outputs_at_one_place_are_one_file_the_later(rig, broker):
    job_id, _ = await run(rig, broker, write("a.txt", "one"), write("a.txt", "two"))
    assert visible(rig) == {f"{job_id}/a.txt": "two"}


async def test_one_place_under_two_names_is_refused(rig, broker):
    tasks = (write("a.txt"), write(f"{rig.storage}/chosen/a.txt"))
    job_id, settlement = await run(rig, broker, *tasks, destination=f"{rig.storage}/chosen")
    assert isinstance(settlement.outcome, Dead)
    assert "are one place" in (await rig.repository.job(job_id)).error
    assert visible(rig) == {}


async def test_what_a_task_made_is_read_under_its_final_name_too(rig, broker):
    copy = {"source": f"{rig.storage}/chosen/a.txt", "destination": "b.txt"}
    await run(rig, broker, write("a.txt"), cleanup(copy=[copy]), destination=f"{rig.storage}/chosen")
    assert visible(rig) == {"chosen/a.txt": "hello", "chosen/b.txt": "hello"}


async def test_a_deletion_that_fails_stays_noted_and_stops_no_other(rig, broker):
    first, second = rig.storage / "first.txt", rig.storage / "second.txt"
    first.write_text("1")
    second.write_text("2")

    async def turn_into_a_folder(step):
        if step == "recorded":
            first.unlink()
            first.mkdir()

    rig.on_step = turn_into_a_folder
    job_id, settlement = await run(rig, broker, cleanup(delete=[str(first), str(second)]))
    assert isinstance(settlement.outcome, Completed)
    assert not second.exists()
    assert list(await rig.repository.pending_deletions()) == [job_id]


async def test_a_destination_of_the_jobs_own_takes_its_relative_outputs(rig, broker):
    await run(rig, broker, write("a.txt"), destination=f"{rig.storage}/chosen")
    assert visible(rig) == {"chosen/a.txt": "hello"}


async def test_a_timeout_of_the_job_ends_it(rig, broker):
    async def on_run(_context):
        await asyncio.sleep(30)

    rig.task.on_run = on_run
    _, settlement = await run(rig, broker, write("a.txt"), timeout=0.3)
    assert isinstance(settlement.outcome, Retry)
    assert settlement.outcome.failure.error_type == "TimedOut"


async def test_a_job_that_fills_scratch_itself_is_charged(rig, broker, monkeypatch):
    async def on_run(context):
        context.scratch("endless").write_bytes(b"x" * (1 << 20))
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
        raise DiskFull("no space left")

    rig.task.on_run = on_run
    _, settlement = await run(rig, broker, write("a.txt"))
    assert isinstance(settlement.outcome, Retry)
    assert "filled scratch" in settlement.outcome.failure.message


async def test_a_job_of_too_many_files_is_refused_and_shows_none(rig, broker):
    bench = replace(rig.bench, most_outputs=2)
    rig.executor = Executor(
        bench, rig.policy, worker_id=rig.worker_id, lanes=rig.lanes, lease_seconds=rig.lease_seconds
    )
    job_id, settlement = await run(rig, broker, write("a.txt"), write("b.txt"), write("c.txt"))
    assert isinstance(settlement.outcome, Dead)
    assert "more than 2 files" in (await rig.repository.job(job_id)).error
    assert visible(rig) == {}
    job_id, _ = await run(rig, broker, write("a.txt"), write("b.txt"), write("a.txt"))
    assert visible(rig) == {f"{job_id}/a.txt": "hello", f"{job_id}/b.txt": "hello"}
