from fractions import Fraction
from pathlib import Path

import pytest
from pydantic import ValidationError

from worker.core.errors import InvalidJob
from worker.core.media_info import MediaInfo, StreamInfo
from worker.media.ffmpeg.command import ffmpeg_command
from worker.media.ffmpeg.options import Encoder
from worker.media.ffmpeg.params import FfmpegParams, merged_options
from worker.media.ffmpeg.promise import promise

GOLDEN = Path(__file__).parent / "golden"

VIDEO = StreamInfo(0, "video", "h264", duration=60.0, frame_rate=Fraction(30000, 1001), width=320, height=180)
JAPANESE = StreamInfo(1, "audio", "aac", language="jpn", duration=60.0)
ENGLISH = StreamInfo(2, "audio", "ac3", language="eng", duration=60.0)
TEXT = StreamInfo(3, "subtitle", "subrip", language="eng")
SOURCE = MediaInfo("matroska,webm", 60.0, 0.0, 10**6, None, (VIDEO, JAPANESE, ENGLISH, TEXT))
ENCODERS = {"libx265": Encoder("libx265", "v", "hevc"), "libopus": Encoder("libopus", "a", "opus")}

FULL = {
    "sources": ["in.mkv", "nas://b/second source.mkv"],
    "input_options": {"ss": "0:30", "t": 12.5, "accurate_seek": False},
    "source_maps": [
        {"source": 0, "specifier": "v", "stream": 0},
        {"source": 0, "specifier": "a", "stream": 1},
        {"source": 1, "stream_type": "a", "optional": True},
        {"source": 0, "stream": 3},
    ],
    "output_maps": [
        {
            "specifier": "v",
            "stream": 0,
            "options": {"codec": "libx265", "crf": 19, "x265-params": {"limit-sao": 1, "bframes": 8}},
        },
        {"specifier": "a", "stream": 0, "options": {"codec": "libopus", "b": "128k", "ac": 2, "vbr": "on"}},
        {"stream_type": "s", "stream": 0, "options": {"codec": "copy", "metadata": {"language": "eng"}}},
    ],
    "output_file": "s3://bucket/out.mkv",
    "overwrite": True,
}


def params(**changes) -> FfmpegParams:
    return FfmpegParams.model_validate(FULL | {"sources": ["in.mkv"], "input_options": {}, "source_maps": []} | changes)


def lines(made: FfmpegParams, count: int) -> str:
    pipeline = ffmpeg_command(
        made, "ffmpeg", [Path(f"/in/{n}.mkv") for n in range(count)], Path("/scratch/out.part.mkv")
    )
    return "\n".join(pipeline.stages[0].argv) + "\n"


def test_a_whole_task_becomes_the_golden_argv():
    assert lines(FfmpegParams.model_validate(FULL), 2) == (GOLDEN / "ffmpeg-full.txt").read_text()


def test_a_still_is_one_frame_and_no_pattern():
    still = params(output_file="poster.png", output_maps=[])
    assert lines(still, 1) == (GOLDEN / "ffmpeg-still.txt").read_text()


def test_a_vaapi_encoder_gets_its_device_and_frames_in_its_memory():
    pictures = [{"source": 0, "specifier": "v", "stream": 0}] * 2
    wanted = [
        {"specifier": "v", "stream": 0, "options": {"codec": "h264_vaapi", "vf": "scale=640:-2", "b": "2M"}},
        {"specifier": "v", "stream": 1, "options": {"codec": "hevc_vaapi", "pix_fmt": "yuv420p10le"}},
    ]
    made = params(source_maps=pictures, output_maps=wanted)
    argv = ffmpeg_command(made, "ffmpeg", [Path("/in/0.mkv")], Path("/out.mkv"), render_node="/dev/dri/renderD129")
    golden = (GOLDEN / "ffmpeg-vaapi.txt").read_text()
    assert "".join(f"{argument}\n" for argument in argv.stages[0].argv) == golden


@pytest.mark.parametrize(
    ("codec", "chain", "given", "written"),
    [
        ("h264_vaapi", "hwupload,scale_vaapi=w=640:h=360", {}, "hwupload,scale_vaapi=w=640:h=360"),
        ("h264_vaapi", "scale_vaapi=w=64:h=36", {"hwaccel": "vaapi"}, "scale_vaapi=w=64:h=36"),
        ("hevc_vaapi", "fps=25", {}, "fps=25,format=nv12,hwupload"),
        ("vp9_vaapi", "fps=25", {"hwaccel_output_format": "vaapi"}, "fps=25,format=nv12|vaapi,hwupload"),
        ("h264_qsv", "fps=25", {}, "fps=25"),
        ("h264_nvenc", "fps=25", {}, "fps=25"),
    ],
)
def test_frames_are_uploaded_once_and_only_where_the_encoder_needs_it(codec, chain, given, written):
    wanted = [{"specifier": "v", "stream": 0, "options": {"codec": codec, "filter": chain}}]
    argv = lines(params(output_maps=wanted, input_options=given), 1).splitlines()
    assert argv[argv.index("-filter:v:0") + 1] == written
    assert ("-vaapi_device" in argv) is codec.endswith("_vaapi")


@pytest.mark.parametrize("name", ["a.mp4", "a.m4v", "a.m4a", "a.MOV", "a.3gp"])
def test_the_index_of_an_mp4_comes_before_its_media(name):
    assert "-movflags\n+faststart\n-f\n" in lines(params(output_file=name), 1)
    assert "movflags" not in lines(params(output_file="a.mkv"), 1)


def test_every_input_is_guarded():
    argv = (
        ffmpeg_command(FfmpegParams.model_validate(FULL), "ffmpeg", [Path("/a"), Path("/b")], Path("/c")).stages[0].argv
    )
    assert argv.count("-i") == argv.count("-protocol_whitelist") == argv.count("-format_whitelist") == 2
    assert "-nostdin" in argv


def test_inline_options_win_over_the_set():
    stored = {"codec": "libopus", "b": "128k"}
    assert merged_options(stored, {"b": "96k"}) == {"codec": "libopus", "b": "96k"}
    assert merged_options(stored, {"c": "copy"}) == {"codec": "copy", "b": "128k"}
    assert merged_options(stored, {"codec": None}) == {"b": "128k"}


def test_the_older_names_are_the_same():
    old = FfmpegParams.model_validate(
        {
            "sources": ["in.mkv"],
            "source_map": [{"source": 0, "stream_type": "v", "stream": 0}],
            "output_map": [{"stream_type": "v", "stream": 0, "profile": "dark"}],
            "output_file": "out.mkv",
        }
    )
    assert str(old.source_maps[0]) == "0:v:0"
    assert old.output_maps[0].option_set == "dark"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source_maps": [{"source": 1}]}, r"source_maps.0.source\s+is 1, but there is 1 source"),
        ({"output_file": "in.mkv"}, "is also a source"),
        ({"output_file": "./in.mkv"}, "is also a source"),
        ({"output_file": "out.m3u8"}, r"has \.m3u8, no container"),
        ({"output_file": "out"}, "has no suffix, no container"),
        ({"sources": []}, "at least 1 item"),
        ({"source_maps": [{"specifier": "a:0 -y"}]}, "specifier"),
        ({"output_maps": [{"specifier": "v", "stream": 0}]}, "needs options, an option_set"),
        ({"output_maps": [{"specifier": "v", "options": {"crf": [1]}}]}, r"options.crf\s+Value error, is a string of"),
        ({"verify": "hope"}, "verify"),
        ({"outputfile": "x"}, "outputfile"),
    ],
)
def test_data_that_makes_no_sense_is_refused_before_anything_runs(changes, words):
    with pytest.raises(ValidationError, match=words):
        params(**changes)


MAPS = [{"specifier": "v", "stream": 0}, {"specifier": "a", "stream": 1}, {"specifier": "s", "stream": 0}]


def promised(**changes):
    return promise(params(**({"source_maps": MAPS} | changes)), [SOURCE], ENCODERS)


def test_the_promise_is_streams_codecs_duration_and_frames():
    made = promised()
    assert [(s.kind, s.codec) for s in made.expected.streams] == [
        ("video", "hevc"),
        ("audio", "opus"),
        ("subtitle", "subrip"),
    ]
    assert made.expected.at_least == 60.0
    assert made.seconds == 60.0
    assert made.frames == 1798


def test_a_map_that_asks_for_a_missing_stream_states_what_there_is():
    with pytest.raises(InvalidJob) as raised:
        promised(source_maps=[{"specifier": "a", "stream": 2}])
    text = str(raised.value)
    assert "source_maps[0]: 0:a:2 is not there: in.mkv has 0 v:0 h264, 1 a:0 aac (jpn), 2 a:1 ac3 (eng)" in text


def test_an_optional_map_may_be_missing():
    made = promised(source_maps=[MAPS[0], {"specifier": "a", "stream": 7, "optional": True}])
    assert [s.kind for s in made.expected.streams] == ["video"]


def test_an_output_map_without_a_stream_is_refused():
    with pytest.raises(InvalidJob, match=r"output_maps\[1\]: a:0 is not there: the source maps give video h264"):
        promised(source_maps=MAPS[:1])


def test_an_output_map_of_maps_that_give_nothing_is_reported_so():
    with pytest.raises(InvalidJob, match=r"output_maps\[0\]: v:0 is not there: the source maps give no stream"):
        promised(source_maps=[{"specifier": "v", "stream": 5}])


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({"ss": 10}, 50),
        ({"ss": "0:10", "t": 5}, 5),
        ({"to": 20, "ss": 5}, 15),
        ({"t": 100}, 60),
        ({"stream_loop": 1}, 120),
        ({"stream_loop": -1, "t": 200}, 200),
        ({"itsscale": 2}, None),
        ({"sseof": -5}, None),
    ],
)
def test_cuts_and_loops_change_the_promised_duration(options, seconds):
    assert promised(input_options=options).seconds == seconds


@pytest.mark.parametrize("filters", ["fps=10", "yadif", "yadif=1,scale=64:36", "bwdif"])
def test_a_filter_that_changes_only_the_number_of_frames_keeps_the_promised_duration(filters):
    maps = [{"specifier": "v", "stream": 0, "options": {"codec": "libx265", "vf": filters}}]
    made = promised(source_maps=MAPS[:1], output_maps=maps)
    assert (made.seconds, made.frames) == (60, None)


@pytest.mark.parametrize("option", [{"vf": "trim=end=1"}, {"frames": 5}, {"filter": "null,setpts=2*PTS"}])
def test_an_unknowable_length_is_not_promised(option):
    maps = [{"specifier": "v", "stream": 0, "options": {"codec": "libx265", **option}}]
    made = promised(source_maps=MAPS[:1], output_maps=maps)
    assert (made.seconds, made.frames, made.expected.at_least) == (None, None, None)


def test_a_duration_guessed_from_the_bit_rate_is_no_promise():
    source = MediaInfo("mp3", 60.0, 0.0, 10**6, None, (StreamInfo(0, "audio", "mp3", duration=60.0),))
    made = promise(params(output_maps=[]), [source], {})
    assert made.seconds is None
