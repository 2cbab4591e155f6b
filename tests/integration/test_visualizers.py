"""Films by the real tools: what is published is whole, and whatever ends early publishes nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
import uuid
from dataclasses import replace

import psutil
import pytest
from rig import Rig, broker_hands
from visual_support import SHORT, TOOLS, VISUALIZER, bench_in, gource_task, made_repository

from infra.migrations import upgrade
from visualizers.gource import GourceVisualizer
from visualizers.waveform import WaveformVisualizer
from worker.adapters.git import GitRepositories
from worker.adapters.sql import SqlRepository
from worker.core.attempt import Retry
from worker.core.errors import BadInput, InvalidJob, TimedOut
from worker.engine.context import ToolLookup
from worker.engine.executor import Executor
from worker.process.runner import ProcessRunner
from worker.registry import Registry
from worker.tasks.visualizer import VisualizerTask
from worker.testing import check_visualizer

pytestmark = pytest.mark.xdist_group("rabbitmq")

ODD = {"--save-config=x": "1", "a|b\nc": "2", "ç/王.py": "3", "--title": "4"}


def frames_of(path) -> int:
    question = ("ffprobe", "-v", "error", "-count_packets", "-select_streams", "v:0", "-show_entries")
    told = subprocess.run(
        (*question, "stream=nb_read_packets", "-of", "csv=p=0", path), capture_output=True, text=True, check=True
    )
    return int(told.stdout.strip().strip(","))


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    return made_repository(tmp_path_factory.mktemp("history") / "origin", {"src/a.py": "1"}, ODD)


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
    result = await bench.run_task(task_for(history), data(history, title='"q" $(touch x) `y` --save-config=z 王 é 😀'))
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
    assert title[title.index("--title") + 1] == '"q" $(touch x) `y` --save-config=z 王 é 😀'


async def test_everything_beside_the_history_is_drawn_and_heard(tmp_path, history):
    bench = bench_in(tmp_path)
    make = ("ffmpeg", "-v", "error", "-y", "-f", "lavfi")
    for name in ("face.jpg", "logo.png", "back.jpg"):
        subprocess.run((*make, "-i", "testsrc2=s=90x60:d=1", "-frames:v", "1", bench.root / name), check=True)
    subprocess.run((*make, "-i", "sine=d=1", bench.root / "tone.flac"), check=True)
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
        painter = run.stages[0]
        stream = subprocess.run(
            painter.argv, env=os.environ | dict(painter.environment), capture_output=True, check=True
        )
        size = len(b"P6\n256 144 255\n") + 3 * 256 * 144
        frames = [stream.stdout[n : n + size] for n in range(0, len(stream.stdout), size)]
        hashes.append(frames)
        assert frames_of(result.outputs["video.mp4"].path) == len(frames)
    assert hashes[1] == hashes[0][30:50]


async def test_without_the_virtual_clock_the_film_is_made_on_the_real_one(tmp_path, history):
    visualizer = GourceVisualizer(tmp_path / "none.so")
    bench = bench_in(tmp_path)
    task = gource_task(history.parent, visualizer)
    window = {"first_frame": 20, "last_frame": 45}
    result = await bench.run_task(task, data(history, output="mp4", **window))
    assert result.facts["gource"]["clock"] == "real"
    assert "python -m infra clock" in await visualizer.rehearse(bench)
    assert frames_of(result.outputs["video.mp4"].path) == 25


@pytest.mark.parametrize(
    ("more", "kind", "told"),
    [
        ({"stop_date": "1999-01-01"}, BadInput, "none of the 2 commits"),
        ({"start": 0.5, "start_date": "2030-01-01"}, BadInput, "none of the 2 commits"),
        ({"first_frame": 100000}, InvalidJob, "first_frame"),
        ({"last_frame": 100000}, InvalidJob, "last_frame"),
    ],
)
async def test_what_no_film_can_be_made_of_is_told(tmp_path, history, more, kind, told):
    bench = bench_in(tmp_path)
    with pytest.raises(kind, match=told):
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


@pytest.mark.parametrize("look", ["line", "tones", "scope"])
async def test_a_sound_becomes_a_film_of_exactly_its_length(tmp_path, look):
    bench = bench_in(tmp_path)
    tone = ("-f", "lavfi", "-i", "sine=440:d=2.35", bench.root / "tone.flac")
    subprocess.run(("ffmpeg", "-v", "error", *tone), check=True)
    task = VisualizerTask(WaveformVisualizer(), GitRepositories(ProcessRunner({})))
    wanted = {"source": "nas://tone.flac", "look": look, "resolution": "320x180", "output": "mp4"}
    result = await bench.run_task(task, wanted)
    assert frames_of(result.outputs["video.mp4"].path) == 71
    assert result.outputs["video.mp4"].path.stat().st_size > 5000


@pytest.mark.parametrize("on_timeout", ["fail", "keep"])
async def test_a_film_that_reaches_its_time_limit_fails_or_is_kept_and_says_so(tmp_path, history, on_timeout):
    bench = bench_in(tmp_path)
    # large and long enough that it cannot be done in the time, which is enough for some frames
    large = {"resolution": "1920x1080", "--time-scale": 0.5, "--output-framerate": 60, "length": 20}
    wanted = data(history, output="mp4", time_limit=5, on_timeout=on_timeout) | large
    if on_timeout == "fail":
        with pytest.raises(TimedOut):
            await bench.run_task(task_for(history), wanted)
        assert not bench.result.outputs
        return
    result = await bench.run_task(task_for(history), wanted)
    told = result.facts["truncated"]
    assert 0 < told["frames"] < told["of"]
    assert frames_of(result.outputs["video.mp4"].path) == told["frames"]
    assert "is cut short" in result.warnings[-1]


# ------------------------------------------------------------------------------------------- from the broker


@pytest.fixture
async def broker(broker_url, services):
    async with broker_hands(broker_url, services.environment()["RABBITMQ_MANAGEMENT_URL"]) as hands:
        yield hands


@pytest.fixture
async def rig(provisioned_broker, broker, history, tmp_path):
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    upgrade(url)
    repository = SqlRepository(url)
    rig = Rig(provisioned_broker, repository, tmp_path, lanes=("visualize", "cpu"))
    rig.bench = replace(
        rig.bench,
        registry=Registry({"gource": task_for(history)}),
        tools=TOOLS,
        runner=ProcessRunner(dict(os.environ)),
    )
    rig.executor = Executor(
        rig.bench, rig.policy, worker_id=rig.worker_id, lanes=rig.lanes, lease_seconds=rig.lease_seconds
    )
    yield rig
    await rig.close()
    await repository.close()


def message(history, **options):
    return {"type": "gource", "repoURL": f"file://{history}", "videoId": str(uuid.uuid4()), "gource": SHORT | options}


def alive(process: psutil.Process) -> bool:
    """Return whether it runs; the dead whose end nobody has taken note of do not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def name_of(process: psutil.Process) -> str:
    """Return its name; none when it is gone."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


async def painters(name: str, seconds: float = 30) -> list[psutil.Process]:
    """Return our programs of this name, once there is one that draws."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        names = {child: name_of(child) for child in psutil.Process().children(recursive=True)}
        if {"gource", "ffmpeg"} <= set(names.values()):
            return [child for child, its in names.items() if its == name]
        await asyncio.sleep(0.02)
    raise AssertionError(f"no {name} was started")


async def test_both_dialects_complete_from_the_message_to_the_playlist(rig, broker, history):
    first = message(history, **{"--title": "A project", "--start-date": "'2020-01-01 00:00:00 +0"})
    second = {
        "renderType": "GOURCE", "repoURL": f"file://{history}", "videoId": str(uuid.uuid4()), "token": "hush-hush",
        "renderOptions": {"start": 0.5, "stop": 1, "key": True, "bloomMultiplier": 1.2, "title": "Another"},
    }  # fmt: skip
    for sent in (first, second):
        await broker.publish(sent, "visualize.normal")
        await rig.until(sent["videoId"], "completed", "dead", seconds=60)
        record = await rig.repository.job(sent["videoId"])
        assert record.state == "completed", record.error
        assert (rig.storage / sent["videoId"] / "master.m3u8").exists()
        assert record.manifest_url.endswith(f"{sent['videoId']}/master.m3u8")
        assert record.thumbnail_url.endswith("/poster.jpg")
        assert "hush-hush" not in str(record)


@pytest.mark.parametrize("victim", ["gource", "ffmpeg"])
async def test_when_one_end_of_the_pipe_is_killed_the_other_is_gone_and_nothing_is_published(
    rig, broker, history, victim
):
    sent = message(history, resolution="1280x720")
    await task_for(history).rehearse(ToolLookup(rig.repository, rig.bench.runner, rig.bench.tools))
    await broker.publish(sent, "visualize.normal")
    running = asyncio.create_task(rig.one(60))
    found = await painters(victim)
    peers = await painters("ffmpeg" if victim == "gource" else "gource")
    found[0].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    while any(alive(peer) for peer in peers):
        assert time.monotonic() - killed < 1.0
        await asyncio.sleep(0.01)
    settlement = await running
    assert isinstance(settlement.outcome, Retry)
    assert "killed by SIGKILL" in (await rig.repository.job(sent["videoId"])).attempts[-1].error
    assert not [path for path in rig.storage.rglob("*") if path.is_file()]
    await rig.until(sent["videoId"], "completed", "dead", seconds=60)
    assert (await rig.repository.job(sent["videoId"])).state == "completed"
