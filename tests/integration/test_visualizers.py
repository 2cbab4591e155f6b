"""Films by the real tools: as many frames as were counted, each as it was asked for."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

import pytest

from tests.support.visualizers import SHORT, VISUALIZER, bench_in, frames_of, git, gource_task, made_repository
from visualizers.gource import GourceVisualizer
from visualizers.waveform import WaveformVisualizer
from worker.adapters.git import GitRepositories
from worker.core.errors import BadInput, InvalidJob, VerificationFailed
from worker.process.runner import ProcessRunner
from worker.tasks.visualizer import VisualizerTask
from worker.testing import check_visualizer

ODD = {"--save-config=x": "1", "a|b\nc": "2", "ç/王.py": "3", "--title": "4"}


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    return made_repository(tmp_path_factory.mktemp("history") / "origin", {"src/a.py": "1"}, ODD)


def film(*arguments) -> None:
    """Make a picture or a sound with one of ffmpeg's own sources."""
    subprocess.run(("ffmpeg", "-v", "error", "-y", "-f", "lavfi", *arguments), check=True)


def task_for(history) -> VisualizerTask:
    return gource_task(history.parent, VISUALIZER)


def data(history, **more):
    return SHORT | {"repo_url": f"file://{history}"} | more


def test_the_visualizers_keep_the_rules(history):
    check_visualizer(
        VISUALIZER, {"repo_url": "https://example.org/x.git", "avatars": [{"name": "A", "image": "a.png"}]}
    )
    check_visualizer(WaveformVisualizer(), {"source": "nas://a.flac"})


async def test_a_history_becomes_hls_with_its_last_frame_and_every_frame_that_was_counted(tmp_path, history):
    bench = bench_in(tmp_path)
    result = await bench.run_task(task_for(history), data(history, title='"q" $(touch x) `y` --save-config=z ж é →'))
    assert (result.manifest, result.thumbnail) == ("master.m3u8", "e1/poster.jpg")
    facts = result.facts["gource"]
    assert (facts["commits"], facts["clock"]) == (2, "virtual")
    segments = sorted(path for path in result.outputs if path.endswith(".m4s"))
    whole = tmp_path / "whole.mp4"
    init = segments[0].rpartition("/")[0] + "/init.mp4"
    whole.write_bytes(b"".join(result.outputs[name].path.read_bytes() for name in (init, *segments)))
    assert frames_of(whole) == facts["frames"] > 50
    assert [one.fraction for one in result.reports] == sorted(one.fraction for one in result.reports)
    assert "#EXT-X-TARGETDURATION:2\n" in result.outputs["e1/144p/index.m3u8"].path.read_text()
    title = next(run.stages[0].argv for run in result.pipelines if run.label == "film")
    assert title[title.index("--title") + 1] == '"q" $(touch x) `y` --save-config=z ж é →'


BESIDE = {
    "--user-image-dir": "nas://faces", "avatars": [{"name": "Łukasz 王", "image": "nas://face.jpg"}],
    "default_avatar": "nas://face.jpg", "logo": "nas://face.jpg", "background": "nas://face.jpg",
    "captions": "nas://captions.txt", "--key": "", "--title": "Résumé",
}  # fmt: skip


async def test_every_option_that_is_to_be_seen_changes_the_picture(tmp_path, history):
    bench = bench_in(tmp_path)
    (bench.root / "faces").mkdir()
    for name in ("face.jpg", "faces/Ada.png", "faces/Łukasz 王.jpeg"):
        film("-i", "testsrc2=s=90x60:d=1", "-frames:v", "1", bench.root / name)
    (bench.root / "faces" / "notes.txt").write_text("no picture")
    (bench.root / "captions.txt").write_text("1600000000|Anfang\n")

    async def picture(number, **more):
        """Return the film of one frame."""
        made = bench_in(tmp_path / str(number))
        made.root.rmdir()
        made.root.symlink_to(bench.root)
        # on smaller ones gource shows no key
        wanted = data(history, resolution="640x360", output="mp4", thumbnail=False, first_frame=20, last_frame=21)
        result = await made.run_task(task_for(history), wanted | more)
        return result.outputs["video.mp4"].path.read_bytes()

    plain = await picture("plain")
    assert await picture("again") == plain
    seen = {name: await picture(number, **{name: value}) for number, (name, value) in enumerate(BESIDE.items())}
    assert [name for name, frame in seen.items() if frame == plain] == []
    assert len(set(seen.values())) == len(seen)


async def test_everything_beside_the_history_is_drawn_and_heard(tmp_path, history):
    bench = bench_in(tmp_path)
    for name in ("face.jpg", "logo.png", "back.jpg"):
        film("-i", "testsrc2=s=90x60:d=1", "-frames:v", "1", bench.root / name)
    film("-i", "sine=d=1", bench.root / "tone.flac")
    (bench.root / "captions.txt").write_text("1600000000|Anfang\n2020-09-13 13:00:00|später | viel\n")
    more = {
        "avatars": [{"name": "Ada", "image": "nas://face.jpg"}], "default_avatar": "nas://face.jpg",
        "logo": "nas://logo.png", "background": "nas://back.jpg", "audio": "nas://tone.flac",
        "captions": "nas://captions.txt", "output": "mp4", "key": "", "hide": ["date"], "highlight_users": True,
        "background_colour": "#204060", "elasticity": 0.3, "--bloom-multiplier": 1.5, "--bloom-intensity": 0.4,
    }  # fmt: skip
    result = await bench.run_task(task_for(history), data(history, **more))
    info = await bench.probe(result.outputs["video.mp4"].path)
    assert [stream.kind for stream in info.streams] == ["video", "audio"]
    assert info.video.frames == result.facts["gource"]["frames"]
    assert info.audio[0].duration == pytest.approx(info.video.duration, abs=0.06)
    assert result.manifest == "video.mp4"


async def test_a_range_of_frames_is_the_very_part_of_the_film(tmp_path, history):
    hashes = []
    for number, window in enumerate(({}, {"first_frame": 30, "last_frame": 50})):
        bench = bench_in(tmp_path / str(number))
        result = await bench.run_task(task_for(history), data(history, output="mp4", thumbnail=False, **window))
        run = next(run for run in result.pipelines if run.label == "film")
        painter, _ = run.stages  # what is short is drawn by one
        stream = subprocess.run(
            painter.argv, env=os.environ | dict(painter.environment), capture_output=True, check=True
        )
        size = len(b"P6\n256 144 255\n") + 3 * 256 * 144
        frames = [stream.stdout[n : n + size] for n in range(0, len(stream.stdout), size)]
        hashes.append(frames)
        assert frames_of(result.outputs["video.mp4"].path) == len(frames)
    assert hashes[1] == hashes[0][30:50]


async def test_a_film_that_two_gources_draw_together_is_the_film_that_one_draws(tmp_path, history):
    films = {}
    for cores in (1, 2):
        bench = bench_in(tmp_path / str(cores))
        task = gource_task(history.parent, GourceVisualizer(cores=cores))
        wanted = data(history, output="mp4", thumbnail=False, **{"--time-scale": 2})
        result = await bench.run_task(task, wanted)
        assert result.facts["gource"]["clock"] == "virtual"
        (run,) = (run for run in result.pipelines if run.label == "film")
        assert [command.program for command in run.stages] == ["gource"] * cores + ["ffmpeg"]
        films[cores] = result.outputs["video.mp4"].path.read_bytes()
        assert frames_of(result.outputs["video.mp4"].path) == result.facts["gource"]["frames"] > 100
    assert films[1] == films[2]


@pytest.mark.parametrize(
    ("more", "kind", "complaint"),
    [
        ({"stop_date": "1999-01-01"}, BadInput, "none of the 2 commits"),
        ({"start": 0.5, "start_date": "2030-01-01"}, BadInput, "none of the 2 commits"),
        ({"first_frame": 100000}, InvalidJob, "first_frame"),
        ({"last_frame": 100000}, InvalidJob, "last_frame"),
    ],
)
async def test_a_source_that_makes_no_film_is_reported(tmp_path, history, more, kind, complaint):
    bench = bench_in(tmp_path)
    with pytest.raises(kind, match=complaint):
        await bench.run_task(task_for(history), data(history, **more))


@pytest.mark.parametrize(
    "more",
    [
        {"--output-ppm-stream": "/etc/x"}, {"resolution": "--fullscreen"}, {"resolution": "1281x720"},
        {"--output-framerate": 24}, {"--start-date": "$(date)"}, {"--save-config": "x"}, {"--load-config": "x"},
        {"--stop-at-time": "1;ls"}, {"--time-scale": "nan"}, {"--elasticity": -1}, {"title": "x" * 1001},
        {"hide": ["mouse --save-config=x"]}, {"background_colour": "red --o"}, {"master_playlist_name": "../x.m3u8"},
        {"output_file": "x.sh"}, {"avatars": [{"name": "../x", "image": "a.png"}]}, {"start": 0.5, "stop": 0.5},
        {"token": "x" * 5000}, {"--log-command": "git"}, {"repo_url": ""},
    ],
)  # fmt: skip
def test_options_of_strangers_are_refused(history, more):
    with pytest.raises(ValueError, match=r".+"):
        GourceVisualizer.params.model_validate(data(history, **more))


async def test_a_repository_that_cannot_be_read_is_named_and_no_clone_is_left(tmp_path, history):
    bench = bench_in(tmp_path)
    there, gone = f"file://{history}", f"file://{history.parent}/gone"
    wanted = SHORT | {"repositories": [{"repo_url": there}, {"repo_url": gone}]}
    with pytest.raises(BadInput, match="gone: there is no such repository"):
        await bench.run_task(task_for(history), wanted)
    assert list(tmp_path.rglob("repository.git")) == []


@pytest.mark.parametrize("look", ["line", "spectrum", "tones", "frequencies", "scope"])
async def test_a_sound_becomes_a_film_of_exactly_its_length(tmp_path, look):
    bench = bench_in(tmp_path)
    tone = ("-f", "lavfi", "-i", "sine=440:d=2.35", bench.root / "tone.flac")
    subprocess.run(("ffmpeg", "-v", "error", *tone), check=True)
    task = VisualizerTask(WaveformVisualizer(), GitRepositories(ProcessRunner({})))
    wanted = {"source": "nas://tone.flac", "look": look, "resolution": "320x180", "output": "mp4"}
    result = await bench.run_task(task, wanted)
    assert frames_of(result.outputs["video.mp4"].path) == 71
    assert result.outputs["video.mp4"].path.stat().st_size > 5000


async def test_the_thumbnail_is_the_films_last_frame(tmp_path, history):
    bench = bench_in(tmp_path)
    result = await bench.run_task(task_for(history), data(history, output="mp4", last_frame=60))

    def pictures(path) -> list[bytes]:
        argv = ("ffmpeg", "-v", "error", "-i", path, "-pix_fmt", "gray", "-f", "rawvideo", "-")
        raw = subprocess.run(argv, capture_output=True, check=True).stdout
        return [raw[n : n + 256 * 144] for n in range(0, len(raw), 256 * 144)]

    def distance(one, other) -> float:
        return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)

    shown = pictures(result.outputs["video.mp4"].path)
    (poster,) = pictures(result.outputs[result.thumbnail].path)
    assert len(shown) == 60
    assert distance(poster, shown[-1]) < 1
    assert distance(poster, shown[-1]) < min(distance(poster, other) for other in shown[:36])


class Miscounted(GourceVisualizer):
    """Believes that the film is a frame longer than it is."""

    async def scene(self, params, stage):
        scene = await super().scene(params, stage)
        return replace(scene, frames=scene.frames + 1)

    async def clock(self, lookup):
        return await VISUALIZER.clock(lookup)

    def judge(self, scene, exits):
        del scene, exits


async def test_a_film_of_other_frames_than_were_counted_is_not_handed_over(tmp_path, history):
    bench = bench_in(tmp_path)
    with pytest.raises(VerificationFailed, match=r"has \d+ frames, and \d+ were counted"):
        await bench.run_task(gource_task(history.parent, Miscounted()), data(history))
    assert bench.result.outputs == {}


async def test_names_moves_merges_and_submodules_of_every_kind_become_a_film(tmp_path):
    origin = made_repository(tmp_path / "origin", {"old.py": "1"}, ODD)
    git(origin, "checkout", "-q", "-b", "side", "HEAD~1")
    (origin / "side").write_text("1")
    git(origin, "add", "-A")
    git(origin, "commit", "-q", "-m", "m", when=1_500_000_000, author="E|ve\x1b --title")
    git(origin, "checkout", "-q", "main")
    git(origin, "mv", "old.py", "été 😀.py")
    git(origin, "update-index", "--add", "--cacheinfo", f"160000,{'ab' * 20},vendor/lib")
    git(origin, "commit", "-q", "-m", "m", when=1_600_010_000)
    git(origin, "merge", "-q", "--no-ff", "-m", "m", "side", when=1_600_020_000)
    bench = bench_in(tmp_path)
    result = await bench.run_task(gource_task(tmp_path), data(origin, output="mp4"))
    assert frames_of(result.outputs["video.mp4"].path) == result.facts["gource"]["frames"]
    assert bench.scratch("history.log").read_text().splitlines() == [
        "1500000000|Eve --title|A|side",
        "1600000000|Ada|A|old.py",
        "1600003600|Łukasz 王|A|--save-config=x",
        "1600003600|Łukasz 王|A|--title",
        "1600003600|Łukasz 王|A|abc",
        "1600003600|Łukasz 王|A|ç/王.py",
        "1600010000|Ada|D|old.py",
        "1600010000|Ada|A|vendor/lib",
        "1600010000|Ada|A|été 😀.py",
    ]


async def test_one_commit_is_a_film(tmp_path):
    bench = bench_in(tmp_path)
    task = gource_task(tmp_path)
    result = await bench.run_task(task, data(made_repository(tmp_path / "origin", {"a": "1"}), output="mp4"))
    assert frames_of(result.outputs["video.mp4"].path) == result.facts["gource"]["frames"]
    assert result.facts["gource"]["commits"] == 1


async def test_a_film_is_as_long_as_asked_for(tmp_path):
    files = [{f"src/{name}.py": "1"} for name in "abcdefgh"]
    origin = made_repository(tmp_path / "origin", *files)
    document = SHORT | {"repo_url": f"file://{origin}", "length": 8, "last_frame": 2, "output": "mp4"}
    result = await bench_in(tmp_path).run_task(gource_task(tmp_path), document)
    assert abs(result.facts["gource"]["frames"] / 25 - 8) < 0.5
    assert not [warning for warning in result.warnings if "the film lasts" in warning]
