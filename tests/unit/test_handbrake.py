"""HandBrake's options as jobs spell them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from worker.core.errors import InvalidJob, VerificationFailed
from worker.core.job import TaskSpec
from worker.core.media_info import MediaInfo, StreamInfo
from worker.media.handbrake.command import HandbrakeMeter, HandbrakeParams, handbrake_command
from worker.media.handbrake.piece import piece_of
from worker.registry import Registry
from worker.tasks.handbrake import HandbrakeTask, prove_film
from worker.tasks.probe import ProbeTask
from worker.tasks.thumbnail import ThumbnailTask
from worker.testing import check_task


def params(**data: Any) -> HandbrakeParams:
    found = Registry({"handbrake": HandbrakeTask()}).parse(
        TaskSpec("handbrake", {"source": "a.mkv", "output_file": "b.mp4", **data}, "handbrake")
    )[1]
    assert isinstance(found, HandbrakeParams)
    return found


def argv(**data: Any) -> list[str]:
    command = handbrake_command(params(**data), "HandBrakeCLI", Path("/a"), Path("/b"))
    return list(command.argv[6:])


def test_the_small_tasks_keep_the_rules_of_the_plug_in_api() -> None:
    check_task(HandbrakeTask(), {"source": "a.mkv", "output_file": "b.mp4", "video_options": {"quality": 20}})
    check_task(ProbeTask(), {"source": "a.mkv", "output_file": "b.json"})
    check_task(ThumbnailTask(), {"source": "a.mkv", "output_file": "b.jpg", "time": 1, "width": 100})


def test_names_switches_lists_and_maps_are_written_as_handbrake_reads_them() -> None:
    assert argv(
        video_options={"encoder_preset": "fast", "two_pass": False, "encopts": {"bframes": 3, "ref": 2}, "vfr": True},
        audio_options={"audio": [1, 2], "all-audio": None},
        picture_options={"maxHeight": 720},
        filters_options={"deblock": "medium"},
    ) == [
        *("--encoder-preset=fast", "--no-two-pass", "--encopts=bframes=3:ref=2", "--vfr"),
        *("--audio=1,2", "--all-audio", "--maxHeight=720", "--deblock=medium"),
    ]


def film(**more: Any) -> MediaInfo:
    video = StreamInfo(0, "video", "h264", duration=12.0, start=0.0, frame_rate=Fraction(25), width=64, height=64)
    return MediaInfo("mov,mp4", 12.0, 0.0, 1, None, (video,), **more)


@pytest.mark.parametrize(
    ("options", "piece"),
    [
        ({}, (0.0, 12.0)),
        ({"start-at": "duration:3", "stop-at": "seconds:4"}, (3.0, 4.0)),
        ({"stop_at": "pts:180000"}, (0.0, 2.0)),
        ({"startAt": {"frames": 250}, "stopAt": {"frames": 900}}, (10.0, 2.0)),
        ({"start-at": "seconds:20"}, (20.0, 0.0)),
        ({"title": 1, "start-at": "seconds:4"}, (4.0, 8.0)),
        ({"title": 2}, None),
        ({"chapters": "1-2"}, None),
        ({"start-at-preview": 3}, None),
    ],
)
def test_a_piece_is_what_its_offsets_mean(options: dict[str, Any], piece: tuple[float, float] | None) -> None:
    assert piece_of(options, film()) == piece


def test_an_offset_is_written_as_handbrake_reads_it() -> None:
    options = {"start_at": {"seconds": 2.5}, "stop-at": "seconds:4"}
    assert argv(source_options=options) == ["--start-at=seconds:2.5", "--stop-at=seconds:4"]


def test_older_tracks_become_lists_of_one_length() -> None:
    tracks = [{"track": 1, "encoder": "av_aac"}, {"track": 3, "bitrate": 96}]
    assert argv(audio_tracks=tracks) == ["--audio=1,3", "--aencoder=av_aac,av_aac", "--ab=160,96"]
    subtitles = [{"track": 2, "name": "Full"}, {"track": 4, "default": True}]
    assert argv(subtitle_tracks=subtitles) == ["--subtitle=2,4", "--subname=Full,", "--subtitle-default=2"]


@pytest.mark.parametrize(
    ("data", "path", "message"),
    [
        (
            {"video_options": {"preset_import_file": "/etc/passwd"}},
            "video_options.preset_import_file",
            "unknown option",
        ),
        ({"subtitles_options": {"srt-file": "/etc/passwd"}}, "subtitles_options.srt-file", "unknown option"),
        ({"video_options": {"encopts": "ref=2:stats=x"}}, "video_options.encopts", "'stats' names a file"),
        ({"video_options": {"encopts": {"csv": "x"}}}, "video_options.encopts", "'csv' names a file"),
        ({"video_options": {"encopts": "log-file=x"}}, "video_options.encopts", "'log-file' names a file"),
        ({"video_options": {"encopts": "cqm=/x"}}, "video_options.encopts", "a slash"),
        ({"destination_options": {"markers": "/etc/passwd"}}, "destination_options.markers", "is a flag"),
        ({"destination_options": {"markers": "chapters.csv"}}, "destination_options.markers", "is a flag"),
        ({"destination_options": {"markers": 1}}, "destination_options.markers", "is a flag"),
        ({"filters_options": {"deblock": "/etc/passwd"}}, "filters_options.deblock", "holds a slash"),
        ({"filters_options": {"pad": ["mode=fill", "/x"]}}, "filters_options.pad", "holds a slash"),
        ({"source_options": {"start-at": 10}}, "source_options.start-at", "write seconds:10"),
        ({"source_options": {"start_at": "00:00:03"}}, "source_options.start_at", "is no offset"),
        ({"source_options": {"stop-at": "seconds:-3"}}, "source_options.stop-at", "is no offset"),
        ({"source_options": {"stop-at": [3]}}, "source_options.stop-at", "is no offset"),
        (
            {"source_options": {"start-at": "seconds:2", "stop-at": "frames:50"}},
            "source_options.stop-at",
            "another unit",
        ),
        ({"video_options": {"width": 3}}, "video_options.width", "belongs into picture_options"),
        ({"video_options": {"qualty": 3}}, "video_options.qualty", "did you mean 'quality'"),
        ({"video_options": {"encoder": "x\n--input"}}, "video_options.encoder", "is neither"),
    ],
)
def test_no_option_reaches_a_file_and_mistakes_are_named(data: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        params(**data)
    (problem,) = caught.value.problems
    assert problem.path == f"handbrake.{path}"
    assert message in problem.message


def test_no_value_is_where_handbrake_would_read_it_as_an_option() -> None:
    options = {"aname": True, "ac": "--output=elsewhere", "adither": None, "gain": "--input=elsewhere"}
    tracks = [{"track": 1, "name": "--output=/elsewhere", "encoder": "--input=/elsewhere"}]
    words = argv(audio_options=options, audio_tracks=tracks, subtitle_tracks=[{"track": 1, "name": "--queue=/x"}])
    assert not [word for word in words if word.startswith(("--output", "--input", "--queue")) or word[:2] != "--"]


def test_progress_counts_passes_and_never_falls() -> None:
    meter = HandbrakeMeter()
    fractions: list[float | None] = []
    for number, done in ((1, 0.5), (1, 1.0), (2, 0.0), (2, 0.5), (2, 0.4)):
        lines = ("Progress: {", f'"Pass": {number},', '"PassCount": 2,', f'"Progress": {done},', "}")
        fractions += [meter.fraction for line in lines if meter.line(line)]
    assert fractions == [0.25, 0.5, 0.5, 0.75, 0.75]


PICTURE, SOUND = StreamInfo(0, "video", "h264", duration=9.0), StreamInfo(1, "audio", "aac", duration=9.0)


def made_of(*streams: StreamInfo, seconds: float = 9.0) -> MediaInfo:
    return MediaInfo("matroska,webm", seconds, 0.0, 1000, None, streams)


def test_a_film_of_handbrake_has_a_picture_its_sounds_and_its_length() -> None:
    two = params(audio_tracks=[{"track": 1}, {"track": 2}])
    prove_film(two, made_of(PICTURE), made_of(PICTURE, SOUND, SOUND))
    with pytest.raises(VerificationFailed, match="it has 1 sounds instead of 2"):
        prove_film(two, made_of(PICTURE), made_of(PICTURE, SOUND))
    with pytest.raises(VerificationFailed, match="it has no picture"):
        prove_film(params(), made_of(PICTURE), made_of(SOUND))
    with pytest.raises(VerificationFailed, match=r"it lasts 9\.00 s instead of 20\.00 s"):
        prove_film(params(), made_of(replace(PICTURE, duration=20.0), seconds=20.0), made_of(PICTURE))
