"""Sources by pattern: counted, made into a job each, what is done skipped, however many there are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.web import site
from worker.control import Refused
from worker.control.intake.batches import Failed, Report, count, expand, submit_all
from worker.control.intake.templates import Made, Skipped, blueprint_of, put_template
from worker.core.errors import BrokerUnavailable, InvalidJob, MountMissing, StorageUnavailable
from worker.core.identity import SAMPLE_BYTES, sample_ranges
from worker.core.pattern import is_pattern, parse_pattern

PROBE = {
    "job": {"job_title": "{{ source.stem }}", "tasks": [{"module": "probe", "data": {"source": "{{ source.uri }}"}}]}
}


@pytest.mark.parametrize(
    ("pattern", "folder", "matching", "others"),
    [
        ("nas://in/*.mkv", "nas://in/", ["a.mkv", "a [2020].mkv"], ["a.mp4", "b/a.mkv", "a.mkv.part"]),
        ("nas://in/**/*.{mkv,mp4}", "nas://in/", ["a.mkv", "b/c/a.mp4"], ["a.avi", "b/a.mkv.txt"]),
        ("nas://in/**", "nas://in/", ["a", "b/c"], []),
        ("s3://films/in/s0?/e*.mkv", "s3://films/in/", ["s01/e1.mkv"], ["s1/e1.mkv", "s010/e1.mkv", "s01/x/e1.mkv"]),
        ("/srv/nas/film*/a.mkv", "/srv/nas/", ["film/a.mkv", "films/a.mkv"], ["film/b/a.mkv"]),
        ("nas://**/a.mkv", "nas://", ["a.mkv", "b/a.mkv"], ["ba.mkv"]),
        ("nas://in/(a+)*.mkv", "nas://in/", ["(a+)b.mkv"], ["aab.mkv"]),
        ("nas://in/{a.mkv", "nas://in/", ["{a.mkv"], ["a.mkv"]),
    ],
)
def test_a_pattern_means_files_below_its_folder(pattern, folder, matching, others):
    found = parse_pattern(pattern)
    assert found.folder == folder
    assert [path for path in matching + others if found.matches(path)] == matching


@pytest.mark.parametrize(
    "text", ["*.mkv", "**", "s3://*/a.mkv", "nas://in/" + "*" * 21, "nas://in/{" + "a," * 200 + "}"]
)
def test_a_malformed_pattern_is_refused(text):
    assert is_pattern(text)
    with pytest.raises(InvalidJob):
        parse_pattern(text)


@given(st.text(alphabet="ab*?{},/[]()+.\\", max_size=40), st.text(alphabet="ab/.", max_size=60))
def test_a_pattern_answers_for_any_path_at_once(text, path):
    try:
        parse_pattern("nas://in/" + text).matches(path)
    except InvalidJob:
        return


def test_samples_are_the_head_the_tail_and_two_between():
    assert sample_ranges(0) == ()
    assert sample_ranges(100) == ((0, 100),)
    ranges = sample_ranges(10_000_000_000)
    assert ranges[0] == (0, SAMPLE_BYTES)
    assert sum(ranges[-1]) == 10_000_000_000
    assert len(ranges) == 4


def files(here, *names: str) -> Path:
    folder = here.folder / "nas" / "in"
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} {number}")
    return folder


async def outcomes(control, *sources: str, **options) -> list:
    named = await expand(control, sources)
    return [one async for one in submit_all(control, "look", named, {}, **options)]


async def prepared(here):
    await put_template(here.services.control, "look", PROBE)
    return here.services.control


async def test_each_match_becomes_a_job_once(tmp_path):
    async with site(tmp_path) as here:
        control = await prepared(here)
        folder = files(here, "a.mkv", "b/c.mkv", "b/d.txt", ".hidden/e.mkv", "b/.f.mkv")
        (folder / "link.mkv").symlink_to(folder / "a.mkv")
        pattern = parse_pattern("nas://in/**/*.mkv")
        blueprint = await blueprint_of(control, "look")
        counted = await count(control, blueprint, pattern, {})
        assert (counted.files, counted.matching, counted.done, counted.fresh) == (3, 2, 0, 2)
        assert here.broker.published == []
        first = await outcomes(control, "nas://in/**/*.mkv")
        assert {one.source for one in first} == {"nas://in/a.mkv", "nas://in/b/c.mkv"}
        assert all(isinstance(one, Made) for one in first)
        os.link(folder / "a.mkv", folder / "again.mkv")
        (folder / "b" / "new.mkv").write_text("new")
        again = {one.source: one for one in await outcomes(control, "nas://in/**/*.mkv")}
        assert isinstance(again["nas://in/b/new.mkv"], Made)
        assert "from nas://in/a.mkv" in again["nas://in/again.mkv"].reason
        assert [type(one) for one in again.values()].count(Skipped) == 3
        assert (await count(control, blueprint, pattern, {})).done == 4
        assert len(here.broker.published) == 3
        limited = await outcomes(control, str(folder / "**"), again=True, limit=2)
        assert len(limited) == 2
        assert len(here.broker.published) == 5


async def test_two_new_files_with_one_content_become_one_job(tmp_path):
    async with site(tmp_path) as here:
        control = await prepared(here)
        folder = files(here, "a.mkv")
        os.link(folder / "a.mkv", folder / "b.mkv")
        found = await outcomes(control, "nas://in/*.mkv", f"{folder}/a.mkv")
        assert sorted(type(one).__name__ for one in found) == ["Made", "Skipped", "Skipped"]
        assert len(here.broker.published) == 1


async def test_a_pattern_without_a_match_is_said_with_what_there_is(tmp_path):
    async with site(tmp_path) as here:
        control = await prepared(here)
        files(here, "a.mkv")
        with pytest.raises(
            Refused, match=r"nothing matches nas://in/\*\.mp4: nas://in/ is there, and there is 1 file below"
        ):
            await outcomes(control, "nas://in/*.mp4")
        with pytest.raises(Refused, match="nothing matches"):
            await count(control, await blueprint_of(control, "look"), parse_pattern("nas://in/*.mp4"), {})


async def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    async with site(tmp_path) as here:
        control = await prepared(here)
        files(here, "what?.mkv", "whatx.mkv", "a*.mkv")
        assert [one.source for one in await outcomes(control, "nas://in/what?.mkv")] == ["nas://in/what?.mkv"]


async def test_a_mount_that_goes_away_in_the_middle_ends_the_run_and_nothing_is_concluded(tmp_path):
    async with site(tmp_path) as here:
        control = await prepared(here)
        folder = files(here, *(f"{number}/a.mkv" for number in range(700)))
        steps = []

        async def read() -> None:
            async for step in control.library().walk(control.library().place("nas://in/")):
                steps.append(len(step))
                folder.rename(folder.with_name("away"))
                folder.mkdir()

        with pytest.raises((MountMissing, StorageUnavailable)) as caught:
            await read()
        assert steps == [500]
        assert "another folder is in its place" in str(caught.value)
        folder.rmdir()
        with pytest.raises(Exception, match="does not exist"):
            await outcomes(control, "nas://in/**")


async def test_a_broker_that_goes_away_ends_the_run_and_the_next_goes_on(tmp_path, monkeypatch):
    async with site(tmp_path) as here:
        control = await prepared(here)
        files(here, "a.mkv", "b.mkv")
        here.broker.away = True
        with pytest.raises(BrokerUnavailable):
            await outcomes(control, "nas://in/*")
        here.broker.away = False
        assert [type(one) for one in await outcomes(control, "nas://in/*")] == [Made, Made]


async def test_a_source_that_cannot_be_read_does_not_hold_the_others(tmp_path):
    async with site(tmp_path) as here:
        control = here.services.control
        await put_template(control, "look", PROBE | {"when": "duration > 0"})
        files(here, "a.mkv", "b.mkv")
        found = await outcomes(control, "nas://in/*.mkv", "nas://in/none.mkv")
        assert [type(one) for one in found] == [Failed, Failed, Failed]
        report = Report()
        for one in found:
            report.add(one)
        assert (report.submitted, report.failed) == (0, 3)


async def test_a_clock_that_is_wrong_changes_nothing(tmp_path):
    async with site(tmp_path) as here:
        control = await prepared(here)
        folder = files(here, "future.mkv", "past.mkv")
        os.utime(folder / "future.mkv", (4e9, 4e9))
        os.utime(folder / "past.mkv", (-1e9, -1e9))
        assert [type(one) for one in await outcomes(control, "nas://in/*")] == [Made, Made]
        os.utime(folder / "past.mkv", (5, 5))
        assert [type(one) for one in await outcomes(control, "nas://in/*")] == [Skipped, Skipped]


MILLION = """
import asyncio, resource, sys
from tests.support.listing import Endless
from worker.control.intake.batches import count
from worker.control.intake.compiler import compile_template
from worker.control.intake.library import Library
from worker.core.pattern import parse_pattern
from worker.control import Control
from pathlib import Path

async def main(files):
    reader = Endless(files)
    library = Library({"nas": reader}, {}, None, str, Path("/nowhere"))
    control = Control(reader, None, None, 1.0, library=lambda: library)
    blueprint = compile_template("look", 1, {"job": {"tasks": []}})
    found = await count(control, blueprint, parse_pattern("nas://in/**/*7.mkv"), {})
    return found.files, found.matching

small = asyncio.run(main(20_000))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
large = asyncio.run(main(int(sys.argv[1])))
print(small, large, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_two_hundred_thousand_files_are_counted_in_the_memory_of_a_few():
    ran = subprocess.run(
        (sys.executable, "-c", MILLION, "200000"), capture_output=True, text=True, timeout=200, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    *_, grown = ran.stdout.split()
    assert "(20000, 2000) (200000, 20000)" in ran.stdout
    assert int(grown) < 20_000, ran.stdout


def test_submit_by_template_on_the_command_line(cli, tmp_path, monkeypatch):
    nas = tmp_path / "library"
    (nas / "in").mkdir(parents=True)
    for name in ("a.mkv", "b.mkv"):
        (nas / "in" / name).write_text(name)
    monkeypatch.setenv("WORKER_NAS_ROOT", str(nas))
    cli.write("look.json", json.dumps(PROBE))
    assert cli.type("templates", "put", "look", "look.json").out == "look is stored as version 1\n"
    assert "look" in cli.type("templates", "list").out
    assert json.loads(cli.type("templates", "get", "look").out) == PROBE
    tried = cli.type("templates", "try", "look", "nas://in/a.mkv")
    assert json.loads(tried.out)["tasks"][0]["data"] == {"source": "nas://in/a.mkv"}
    answer = json.loads(cli.type("templates", "try", "look", "source=nas://in/a.mkv", "--json").out)
    assert (answer["version"], answer["job"]["job_title"]) == (1, "a")
    dry = cli.type("submit", "--template", "look", "nas://in/*.mkv", "--dry-run")
    assert dry.out == "2 of 2 files match: at most 2 jobs to submit\n"
    counted = json.loads(cli.type("submit", "-t", "look", "nas://in/*.mkv", "--dry-run", "--json").out)
    assert counted["at_most"] == 2
    wrong = cli.type("submit", "-t", "lok", "nas://in/a.mkv")
    assert "did you mean 'look'?" in wrong.err
    assert "has no such variable" in cli.type("templates", "try", "look", "nas://in/a.mkv", "colour=red").err
    assert cli.type("submit", "-t", "look", "a=1", "a=2").code == 2
    assert cli.type("submit", "look.json", "--again").code == 2
    assert cli.type("submit").code == 2
    assert cli.type("templates", "delete", "look").code == 0
    assert "is shipped" in cli.type("templates", "delete", "poster").err
