"""A library judged by a template: what conforms, what does not, what is broken, what a run saves."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.media import clip
from tests.support.web import site
from worker.control.intake.batches import Failed, expand, submit_all
from worker.control.intake.scan import BROKEN, CONFORMS, FAILS, LEFT, measured_saving, pattern_of, saving_so_far, scan
from worker.control.intake.templates import Made, blueprint_of, put_template
from worker.core.attempt import Artifact, Result
from worker.core.errors import MountMissing, StorageUnavailable
from worker.core.message.dialects import decode
from worker.core.policy import Policy
from worker.core.ports import ClaimRequest
from worker.process.runner import ProcessRunner

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {
    "when": "video.count > 0",
    "promise": ["video.height <= 100", "'en' in audio.languages"],
    "job": {"job_title": "{{ source.stem }}", "tasks": [{"module": "probe", "data": {"source": "{{ source.uri }}"}}]},
}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    clip(folder / "large.mkv", seconds=1)
    clip(folder / "small.mkv", picture="s=160x90:r=25", seconds=1)
    clip(folder / "sound.mka", picture="", seconds=1)
    whole = (folder / "large.mkv").read_bytes()
    (folder / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "noise.mkv").write_bytes(b"no film at all" * 100)
    (folder / "notes.txt").write_text("notes")
    return folder


async def library(here, films: Path, *names: str):
    shutil.copytree(films, here.folder / "nas" / "in", ignore=lambda _, all_: set(all_) - set(names or all_))
    await put_template(here.services.control, "small", SMALL)
    control = here.services.control
    return control, await blueprint_of(control, "small"), pattern_of("nas://in")


def kinds(found) -> dict[str, str]:
    return {one.uri.removeprefix("nas://in/"): one.kind for one in found.shown}


async def test_each_file_is_judged_and_nothing_is_done(tmp_path, films):
    async with site(tmp_path) as here:
        control, blueprint, pattern = await library(here, films)
        found = await scan(control, blueprint, pattern, {})
        assert (found.files, found.media) == (6, 5)
        assert found.kinds == {FAILS: 2, CONFORMS: 1, LEFT: 1, BROKEN: 1}
        assert kinds(found) == {"large.mkv": FAILS, "cut.mkv": FAILS, "noise.mkv": BROKEN}
        large = next(one for one in found.shown if one.uri == "nas://in/large.mkv")
        assert large.reasons == ("video.height <= 100",)
        assert here.broker.published == []
        assert sorted(path.name for path in (here.folder / "nas" / "in").iterdir()) == sorted(
            path.name for path in films.iterdir()
        )


@pytest.mark.parametrize(
    ("text", "folder"),
    [("nas://", "nas://"), ("nas://in", "nas://in/"), ("nas://in//", "nas://in/"), ("s3://b", "s3://b/"), ("/", "/")],
)
def test_a_folder_means_all_that_is_below_it_and_the_root_is_one(text, folder):
    pattern = pattern_of(text)
    assert (pattern.folder, pattern.matches("a.mkv"), pattern.matches("a/b.mkv")) == (folder, True, True)


async def test_a_health_check_finds_what_only_decoding_shows(tmp_path, films):
    async with site(tmp_path) as here:
        control, blueprint, pattern = await library(here, films, "large.mkv", "cut.mkv", "small.mkv")
        found = await scan(control, blueprint, pattern, {}, health=True)
        assert kinds(found) == {"large.mkv": FAILS, "cut.mkv": BROKEN}
        assert "does not decode" in next(one for one in found.shown if one.kind == BROKEN).reasons[0]
        named = await expand(control, ["nas://in/**"])
        made = [one async for one in submit_all(control, blueprint, named, {})]
        assert [one.source for one in made if isinstance(one, Made)] == ["nas://in/large.mkv"]
        assert ["it is broken" in one.reason for one in made if isinstance(one, Failed)] == [True]


async def test_a_second_scan_asks_no_tool_and_a_changed_file_is_looked_at_again(tmp_path, films, monkeypatch):
    async with site(tmp_path) as here:
        control, blueprint, pattern = await library(here, films, "large.mkv", "small.mkv")
        runs: list[str] = []
        run = ProcessRunner.run

        async def counted(self, pipeline, *arguments, **options):
            runs.append(pipeline.stages[0].argv[0].rpartition("/")[2])
            return await run(self, pipeline, *arguments, **options)

        monkeypatch.setattr(ProcessRunner, "run", counted)
        first = await scan(control, blueprint, pattern, {}, health=True)
        assert sorted(runs) == ["ffmpeg", "ffmpeg", "ffprobe", "ffprobe"]
        runs.clear()
        assert (await scan(control, blueprint, pattern, {}, health=True)).kinds == first.kinds
        assert runs == []
        shutil.copy(films / "large.mkv", here.folder / "nas" / "in" / "small.mkv")
        assert (await scan(control, blueprint, pattern, {})).kinds == {FAILS: 2}
        assert runs == ["ffprobe"]


async def test_loudness_is_measured_where_a_promise_names_it(tmp_path, films):
    async with site(tmp_path) as here:
        control, _, pattern = await library(here, films, "large.mkv")
        loud = SMALL | {"promise": ["audio.loudness > -30 and audio.loudness < -10"]}
        await put_template(control, "loud", loud)
        found = await scan(control, await blueprint_of(control, "loud"), pattern, {})
        assert found.kinds == {CONFORMS: 1}


async def test_a_mount_that_goes_away_in_the_middle_of_a_scan_ends_it(tmp_path, films):
    async with site(tmp_path) as here:
        control, blueprint, pattern = await library(here, films, "notes.txt")
        folder = here.folder / "nas" / "in"
        for number in range(700):
            (folder / f"{number}.txt").touch()

        def vanish(_: object) -> None:
            folder.rename(folder.with_name("away"))
            folder.mkdir()

        with pytest.raises((MountMissing, StorageUnavailable)):
            await scan(control, blueprint, pattern, {}, on_progress=vanish)


async def completed(here, control, made: Made, path: Path, size: int) -> None:
    """Let a job be done as a worker does it."""
    body, job_id, lane, priority = next(one for one in here.broker.published if one[1] == made.job_id)
    job, digest = decode(body, job_id), hashlib.sha256(body).hexdigest()
    claim = await control.stores.claim(ClaimRequest(job, digest, "w", 30.0, lane, priority), Policy())
    artifact = Artifact("file", path, f"file:///out/{job_id}", "video/mp4", size, "ab" * 32)
    await control.stores.complete(claim.attempt, Result((artifact,)))


async def test_the_saving_of_a_run_is_predicted_from_measured_jobs(tmp_path, films):
    async with site(tmp_path) as here:
        control, blueprint, pattern = await library(here, films, "large.mkv")
        film = here.folder / "nas" / "in" / "large.mkv"
        for number in range(3):
            (film.with_name(f"other{number}.mkv")).write_bytes(film.read_bytes() + bytes([number]))
        assert (await scan(control, blueprint, pattern, {})).saved_bytes is None
        sources = [f"nas://in/other{number}.mkv" for number in range(3)]
        size = film.stat().st_size + 1
        async for one in submit_all(control, blueprint, sources, {}):
            assert isinstance(one, Made)
            await completed(here, control, one, film, size // 4)
        saving = await measured_saving(control, "small")
        assert saving.known_from == 3
        assert saving.share == pytest.approx(0.75, abs=0.001)
        assert (await scan(control, blueprint, pattern, {})).saved_bytes == pytest.approx(0.75 * size * 4, rel=0.01)
        done = await saving_so_far(control, "small")
        assert (done.jobs, done.bytes) == (3, 3 * (size - size // 4))


def test_scan_on_the_command_line(cli, tmp_path, monkeypatch, films):
    nas = tmp_path / "library"
    shutil.copytree(films, nas / "in")
    monkeypatch.setenv("WORKER_NAS_ROOT", str(nas))
    cli.write("small.json", json.dumps(SMALL))
    assert cli.type("templates", "put", "small", "small.json").code == 0
    answer = cli.type("scan", "nas://in", "--template", "small")
    assert answer.code == 1
    assert "nas://in/large.mkv" in answer.out
    assert "video.height <= 100" in answer.out
    assert "6 files, 5 of them films and sounds" in answer.out
    found = json.loads(cli.type("scan", "nas://in/**/*.mkv", "-t", "small", "--json").out)
    assert found["verdicts"][FAILS]["files"] == 2
    assert found["predicted"] is None
    assert cli.type("scan", "nas://in", "nas://out", "-t", "small").code == 2
    assert "does not exist" in cli.type("scan", "nas://away", "-t", "small").err
