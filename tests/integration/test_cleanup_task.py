import errno
import os
import shutil

import pytest

from worker.core.errors import DiskFull, InvalidJob, RefusedPath, SourceMissing
from worker.process.runner import ProcessRunner
from worker.tasks.cleanup import CleanupTask
from worker.testing import TaskBench, check_task, refusal


@pytest.fixture
def bench(tmp_path):
    bench = TaskBench(tmp_path, ProcessRunner({"PATH": os.environ["PATH"]}, nice=0))
    (bench.root / "old.txt").write_text("old")
    bench.output("made.txt").write_text("made")
    return bench


def test_the_task_keeps_the_rules_of_plug_ins():
    check_task(
        CleanupTask(),
        {
            "verify_exists": ["a"],
            "copy": [{"source": "a", "destination": "b"}],
            "move": [{"source": "c", "destination": "/d/"}],
            "delete": ["e"],
        },
    )


async def test_verify_exists_finds_staged_and_external_files(bench):
    await bench.run_task(CleanupTask(), {"verify_exists": ["made.txt", "nas://old.txt", f"{bench.root}/old.txt"]})


@pytest.mark.parametrize("location", ["absent.txt", "nas://absent.txt"])
async def test_an_absent_file_fails_by_name(bench, location):
    error = await refusal(bench, CleanupTask(), {"verify_exists": [location]})
    assert isinstance(error, SourceMissing)
    assert str(error) == f"{location} does not exist"


async def test_an_output_that_no_task_wrote_does_not_exist(bench):
    bench.output("promised.txt")
    assert isinstance(await refusal(bench, CleanupTask(), {"verify_exists": ["promised.txt"]}), SourceMissing)


async def test_moving_a_staged_file_changes_only_where_it_goes(bench):
    path = bench.result.outputs["made.txt"].path
    made = await bench.run_task(CleanupTask(), {"move": [{"source": "made.txt", "destination": "nas://done/x.txt"}]})
    assert list(made.outputs) == ["nas://done/x.txt"]
    assert made.outputs["nas://done/x.txt"].path == path
    assert made.deletions == []
    assert not (bench.root / "done").exists()


async def test_a_destination_that_ends_in_a_slash_is_a_folder(bench):
    made = await bench.run_task(CleanupTask(), {"move_files": [{"source": "made.txt", "destination": "nas://done/"}]})
    assert list(made.outputs) == ["nas://done/made.txt"]


async def test_moving_an_external_file_stages_a_copy_and_deletes_later(bench):
    made = await bench.run_task(CleanupTask(), {"move": [{"source": "nas://old.txt", "destination": "nas://new.txt"}]})
    assert made.outputs["nas://new.txt"].path.read_text() == "old"
    assert made.deletions == ["nas://old.txt"]
    assert (bench.root / "old.txt").exists()


async def test_a_copy_does_not_share_its_bytes_with_the_original(bench):
    made = await bench.run_task(CleanupTask(), {"copy_files": [{"source": "made.txt", "destination": "nas://c.txt"}]})
    copy, original = made.outputs["nas://c.txt"].path, made.outputs["made.txt"].path
    original.write_text("changed in place")
    assert copy.read_text() == "made"


async def test_deleting_drops_what_is_staged_and_defers_what_is_outside(bench):
    made = await bench.run_task(CleanupTask(), {"delete_files": ["made.txt", "nas://old.txt"]})
    assert made.outputs == {}
    assert made.deletions == ["nas://old.txt"]
    assert (bench.root / "old.txt").exists()


async def test_a_moved_file_keeps_what_is_known_of_it(bench):
    bench.output("made.txt", role="subtitle", duration=1.5)
    made = await bench.run_task(CleanupTask(), {"move": [{"source": "made.txt", "destination": "nas://x.vtt"}]})
    moved = made.outputs["nas://x.vtt"]
    assert (moved.role, moved.duration) == ("subtitle", 1.5)


async def test_a_path_outside_the_roots_is_refused(bench):
    assert isinstance(await refusal(bench, CleanupTask(), {"delete": ["/etc/passwd"]}), RefusedPath)


async def test_a_full_disk_is_this_host_s_trouble(bench, monkeypatch):
    def full(*paths):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", full)
    error = await refusal(bench, CleanupTask(), {"copy": [{"source": "made.txt", "destination": "b.txt"}]})
    assert isinstance(error, DiskFull)
    assert "No space left" in str(error)


async def test_unknown_fields_are_reported_with_the_nearest(bench):
    error = await refusal(bench, CleanupTask(), {"delet": ["made.txt"]})
    assert isinstance(error, InvalidJob)
    assert str(error) == "delet: unknown field; did you mean 'delete'?"


def test_files_say_what_is_read_written_and_removed():
    data = {
        "verify_exists": ["a"],
        "copy": [{"source": "b", "destination": "c", "overwrite": True}],
        "move": [{"source": "d", "destination": "e/"}],
        "delete": ["f"],
    }
    files = CleanupTask().files(CleanupTask.params.model_validate(data))
    assert [use.location for use in files.reads] == ["a", "b", "d"]
    assert [(use.location, use.overwrite) for use in files.writes] == [("c", True), ("e/d", False)]
    assert [(use.path, use.location) for use in files.removes] == [("move[0].source", "d"), ("delete[0]", "f")]
