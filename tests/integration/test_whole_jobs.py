"""The predecessors' jobs from a published message to the final file, and sources that are not what they say."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.databases import provision
from tests.support.engine import Harness
from tests.support.media import clip, ffmpeg
from worker.adapters.host import bundled_tools, find_tools
from worker.adapters.sql import SqlRepository
from worker.core.attempt import Completed, Dead
from worker.core.record import OptionSet
from worker.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("rabbitmq")

MOUNT = "/mnt/phoenix"
OPTION_SETS = {
    "dark": {"codec": "libx264", "preset": "ultrafast"},
    "opus": {"codec": "libopus", "b": "64k", "ac": 2},
}
NAMES = ("ffmpeg", "ffprobe", "packager", "mkvmerge", "mkvextract")


@pytest.fixture
async def repository(tmp_path):
    rows = SqlRepository(provision(tmp_path / "leveret.db"))
    await rows.put_option_set(
        OptionSet(module="ffmpeg", name="dark", options={"codec": "libx264", "preset": "ultrafast"})
    )
    await rows.put_option_set(
        OptionSet(module="ffmpeg", name="opus", options={"codec": "libopus", "b": "64k", "ac": 2})
    )
    yield rows
    await rows.close()


@pytest.fixture
async def harness(provisioned_broker, broker, repository, tmp_path):
    harness = Harness(
        provisioned_broker,
        repository,
        tmp_path,
        more_tasks=tuple(Registry.load().tasks.values()),
        tools=find_tools(dict.fromkeys(NAMES), bundled_tools()),
        path_map={MOUNT: str(tmp_path / "storage")},
    )
    yield harness
    await harness.close()


def probed(path: Path) -> list[dict]:
    argv = ("ffprobe", "-v", "error", "-of", "json", "-show_streams", str(path))
    return json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)["streams"]


def source(harness: Harness) -> None:
    """Put a film with two languages and subtitles where the jobs expect it."""
    text = harness.storage / "text.srt"
    text.write_text("1\n00:00:00,000 --> 00:00:01,500\nHello\n\n")
    film = clip(harness.storage / "plain.mkv", sounds=2, seconds=2)
    arguments = ("-map", "0", "-map", "1", "-c", "copy", "-c:s", "srt", str(harness.storage / "film.mkv"))
    ffmpeg("-i", str(film), "-i", str(text), *arguments)


ENCODE = {
    "sources": [f"{MOUNT}/film.mkv"],
    "output_file": "encoded.mkv",
}
OUTPUTS = [("v", 0, "dark"), ("a", 0, "opus"), ("a", 1, "opus"), ("s", 0, None)]
TRACKS = [("und", "yes", None), ("jpn", "yes", "Stereo"), ("eng", "no", "Stereo"), ("eng", "yes", "Full Subtitles")]


def outputs(specifier: str, named: str) -> list[dict]:
    """Return the output maps in one of their spellings."""
    return [
        {specifier: kind, "stream": stream} | ({named: name} if name else {"options": {"codec": "copy"}})
        for kind, stream, name in OUTPUTS
    ]


def merge(name: str) -> dict:
    tracks = [
        {
            "source": 0,
            "track": index,
            "options": {"language": language, "default-track": default} | ({name: title} if title else {}),
        }
        for index, (language, default, title) in enumerate(TRACKS)
    ]
    return {
        "sources": [{"filename": "encoded.mkv"}],
        "tracks": tracks,
        "output_file": "final.mkv",
        "options": {"no-global-tags": None, "no-track-tags": None, "title": "Newly Muxed"},
    }


TIDY = {"move": [{"source": "final.mkv", "destination": f"{MOUNT}/Done/final.mkv"}], "delete": ["encoded.mkv"]}
PICKED = (("v", 0), ("a", 1), ("a", 0), ("s", 0))
OLD_MAPS = {"source_map": [{"source": 0, "stream_type": kind, "stream": n} for kind, n in PICKED]}
NEW_MAPS = {"source_maps": [{"source": 0, "specifier": kind, "stream": n} for kind, n in PICKED]}


def canonical() -> dict:
    encode = ENCODE | NEW_MAPS | {"output_maps": outputs("specifier", "option_set")}
    tasks = [("ffmpeg", encode), ("mkvmerge", merge("track-name")), ("cleanup", TIDY)]
    return {"job_title": "a film", "tasks": [{"module": module, "data": data} for module, data in tasks]}


def task_map() -> dict:
    encode = ENCODE | OLD_MAPS | {"output_map": outputs("stream_type", "profile")}
    return {"tasks": [{"ffmpeg": encode}, {"mkvmerge": merge("track-title")}, {"cleanup": TIDY}]}


def flat() -> dict:
    encode = ENCODE | OLD_MAPS | {"output_map": outputs("stream_type", "option_set")}
    return {"job_title": "a film", "ffmpeg": encode, "mkvmerge": merge("title"), "cleanup": TIDY}


@pytest.mark.parametrize("dialect", [canonical, task_map, flat])
async def test_an_encode_merge_and_cleanup_job_ends_in_the_file_it_asked_for(harness, broker, dialect):
    source(harness)
    await broker.publish(dialect(), message_id="the-job")
    settlement = await harness.one(60)
    assert isinstance(settlement.outcome, Completed), settlement
    final = harness.storage / "Done" / "final.mkv"
    streams = probed(final)
    assert [stream["codec_name"] for stream in streams] == ["h264", "opus", "opus", "subrip"]
    labels = [(s["tags"].get("language", "und"), s["disposition"]["default"], s["tags"].get("title")) for s in streams]
    assert labels == [(language, int(default == "yes"), title) for language, default, title in TRACKS]
    record = await harness.repository.job("the-job")
    assert record.manifest_url == "/Done/final.mkv"
    names = {path.name for path in harness.storage.rglob("*") if path.is_file()}
    assert names == {"film.mkv", "plain.mkv", "text.srt", "final.mkv"}


async def test_a_transcode_message_ends_in_a_presentation_where_it_asked(harness, broker):
    clip(harness.storage / "film.mkv", seconds=3)
    message = {
        "job_id": "job-1",
        "movie_id": "movie-1",
        "input": {"source_url": "film.mkv", "format": "mkv"},
        "outputs": [{"resolution": "144p", "bitrate": "200k", "codec": "libx264", "dest_path": "processed/film/144p/"}],
        "hls_settings": {"master_playlist_name": "index.m3u8", "segment_time": 2},
    }
    await broker.publish({"ack": True, "assigned_job": message})
    settlement = await harness.one(60)
    assert isinstance(settlement.outcome, Completed), settlement
    record = await harness.repository.job("job-1")
    assert record.manifest_url == "/processed/film/144p/index.m3u8"
    assert record.facts["movie_id"] == "movie-1"
    assert (harness.storage / "processed/film/144p/index.m3u8").read_text().startswith("#EXTM3U")


async def test_one_failed_rendition_of_a_transcode_message_publishes_nothing(harness, broker):
    clip(harness.storage / "film.mkv", seconds=2)
    outputs = [
        {"resolution": "144p", "bitrate": "200k", "codec": "libx264", "dest_path": "processed/film/144p/"},
        # SVT-AV1 encodes nothing below 64 lines
        {"resolution": "32p", "bitrate": "60k", "codec": "libsvtav1", "dest_path": "processed/film/32p/"},
    ]
    message = {"job_id": "job-1", "input": {"source_url": "film.mkv"}, "outputs": outputs}
    await broker.publish(message)
    settlement = await harness.one(60)
    assert isinstance(settlement.outcome, Dead), settlement
    record = await harness.repository.job("job-1")
    assert record.state == "dead"
    assert "ffmpeg exited" in record.error
    assert [path.name for path in harness.storage.rglob("*")] == ["film.mkv"]
    assert record.manifest_url is None


async def test_a_refused_task_causes_no_faults_of_the_tasks_after_it(harness, broker):
    source(harness)
    message = task_map()
    message["tasks"][0]["ffmpeg"]["no_such_option"] = 1
    await broker.publish(message, message_id="the-job")
    assert isinstance((await harness.one(60)).outcome, Dead)
    error = (await harness.repository.job("the-job")).error
    assert error == "tasks[0].ffmpeg.no_such_option: unknown field; did you mean 'input_options'?"


async def test_a_track_that_its_sources_do_not_have_is_refused_with_all_else_before_anything_runs(harness, broker):
    source(harness)
    message = task_map()
    message["tasks"][1]["mkvmerge"]["tracks"][3]["source"] = 1
    message["tasks"][1]["mkvmerge"]["sources"] = [{"filename": f"{MOUNT}/no-such-file.mkv"}]
    await broker.publish(message, message_id="the-job")
    settlement = await harness.one(60)
    assert isinstance(settlement.outcome, Dead)
    error = (await harness.repository.job("the-job")).error
    assert "tasks[1].mkvmerge.tracks[3].source: is 1, but there is 1 source" in error
    assert f"tasks[1].mkvmerge.sources[0].filename: {MOUNT}/no-such-file.mkv does not exist" in error
    assert "final.mkv" not in error
    assert {path.name for path in harness.storage.rglob("*") if path.is_file()} == {"film.mkv", "plain.mkv", "text.srt"}


def disguised(kind: str, folder: Path) -> Path:
    """Return a source that is not what its name says."""
    path = folder / "film.mp4"
    match kind:
        case "empty":
            path.write_bytes(b"")
        case "playlist":
            path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/passwd\n#EXT-X-ENDLIST\n")
        case "concat":
            path.write_text("ffconcat version 1.0\nfile /etc/passwd\n")
        case "noise":
            path.write_bytes(bytes(range(256)) * 400)
        case "truncated":
            whole = clip(folder / "whole.mp4", seconds=2).read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
    return path


@pytest.mark.parametrize("kind", ["empty", "playlist", "concat", "noise", "truncated"])
async def test_a_source_that_is_no_media_is_dead_with_its_class_and_publishes_nothing(harness, broker, kind):
    disguised(kind, harness.storage)
    before = {path.name for path in harness.storage.rglob("*")}
    message = ENCODE | NEW_MAPS | {"sources": [f"{MOUNT}/film.mp4"]}
    message |= {"source_maps": [{"source": 0, "specifier": "v", "stream": 0}]}
    message |= {"output_maps": [{"specifier": "v", "stream": 0, "option_set": "dark"}]}
    await broker.publish({"job_id": "j1", "tasks": [{"module": "ffmpeg", "data": message}]})
    settlement = await harness.one(60)
    assert isinstance(settlement.outcome, Dead), settlement
    record = await harness.repository.job("j1")
    assert record.error_type == "BadInput"
    assert "film.mp4" in record.error
    assert {path.name for path in harness.storage.rglob("*")} == before
