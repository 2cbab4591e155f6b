import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.media.ffmpeg.filters import AUDIO_FILTERS, VIDEO_FILTERS, filter_names, filter_problem
from worker.media.ffmpeg.options import (
    Encoder,
    arguments,
    input_problems,
    output_problems,
    parse_encoder_options,
    parse_encoders,
    seconds_of,
)

X265 = Encoder("libx265", "v", "hevc", frozenset({"crf", "preset", "x265-params"}))

HELP = """Encoder libx264 [libx264 H.264 / AVC]:
    General capabilities: dr1 delay threads
libx264 AVOptions:
  -preset            <string>     E..V....... Set the encoding preset (default "medium")
  -passlogfile       <string>     E..V....... Filename for 2 pass stats
  -crf               <float>      E..V....... Select the quality for constant quality mode
     none            0            E..V.......
  -stats             <string>     E..V....... Filename for 2 pass stats
  -x264-params       <dictionary> E..V....... Override the x264 configuration

Encoder libx264rgb [libx264 RGB]:
libx264rgb AVOptions:
  -other             <string>     E..V....... Something
"""

LISTED = """Encoders:
 V..... = Video
 ------
 V....D libx264              libx264 H.264 / AVC / MPEG-4 AVC (codec h264)
 A....D aac                  AAC (Advanced Audio Coding)
 S..... srt                  SubRip subtitle (codec subrip)
"""


def complaint(options, kind="v", encoder=X265) -> str:
    return "; ".join(map(str, output_problems(options, kind, encoder, "options")))


def test_the_encoders_that_ffmpeg_lists_have_kind_and_codec():
    found = parse_encoders(LISTED)
    assert found == {
        "libx264": Encoder("libx264", "v", "h264"),
        "aac": Encoder("aac", "a", "aac"),
        "srt": Encoder("srt", "s", "subrip"),
    }


def test_an_encoder_s_documented_options_are_allowed_but_those_that_name_a_file():
    assert parse_encoder_options(HELP) == ("libx264", frozenset({"preset", "crf", "x264-params"}))
    assert parse_encoder_options("Codec 'nope' is not recognized by FFmpeg.") == (None, frozenset())


def test_generic_options_of_the_stream_s_kind_are_allowed():
    assert not complaint({"codec": "libx265", "crf": 19, "pix_fmt": "yuv420p10le", "g": 48, "b": "2M"})
    assert "is no option" in complaint({"ar": 48000})


def test_an_unknown_option_is_reported_with_the_nearest():
    assert complaint({"presett": "slow"}) == (
        "options.presett: is no option of the encoder 'libx265' that is allowed; did you mean 'preset'?"
    )


def test_a_preset_that_x264_and_x265_do_not_know_is_reported_before_they_run():
    assert complaint({"preset": "veryfst"}) == (
        "options.preset: 'veryfst' is no preset of 'libx265'; did you mean 'veryfast'?"
    )
    assert not complaint({"preset": "veryslow"})
    assert not complaint({"preset": 3})
    assert not complaint({"preset": "p4"}, encoder=Encoder("hevc_nvenc", "v", "hevc", frozenset({"preset"})))


def test_movflags_are_refused_with_the_reason():
    assert complaint({"movflags": "+faststart"}) == (
        "options.movflags: is no stream's option: MP4 and MOV files are written for a fast start without it"
    )


@pytest.mark.parametrize(
    "name",
    ["attach", "vstats_file", "passlogfile", "filter_script", "f", "map", "i", "dump_attachment", "filter_complex",
     "-y", "/filter", "b:v", "codec:v:0", "", "stats", "pass", "init_hw_device", "protocol_whitelist"],
)  # fmt: skip
def test_no_option_names_a_file_or_smuggles_another(name):
    assert complaint({name: "x"})


@pytest.mark.parametrize(
    "value",
    [
        {"stats": "/x"}, {"csv": "x"}, {"qpfile": "x"}, {"zonefile": "x"}, {"analysis-save": "x"},
        {"analysis_load": "x"}, {"recon": "x"}, {"no-csv": "x"}, {"bframes": "8:csv=x"}, {"bframes=1:csv": "x"},
        {"dhdr10-info": "x"}, {"scaling-list": "x"}, {"cqm": "x"}, {"Stats": "x"}, {"pass": 2}, {"film-grain": "x"},
        "bframes=8:csv=x", "bframes=8:csv='x'", "bframes=8\\:csv=x", "stats=a",
    ],
)  # fmt: skip
def test_no_parameter_of_a_library_names_a_file(value):
    assert "x265-params" in complaint({"x265-params": value})


@pytest.mark.parametrize(
    "value",
    [{"limit-sao": 1, "bframes": 8, "psy-rd": 1.5, "aq-mode": 3}, "bframes=8:psy-rd=2.0", {"scaling-list": "default"},
     {"master-display": "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)", "log-level": 1}],
)  # fmt: skip
def test_ordinary_parameters_pass(value):
    assert not complaint({"x265-params": value})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"crf": None}, "needs a value"),
        ({"autoscale": 3}, "is a flag"),
        ({"preset": "a\nb"}, "control characters"),
        ({"preset": "x" * 5000}, "2000 characters"),
        ({"preset": "file:/etc/passwd"}, "names a file or a protocol"),
        ({"preset": "http://host/x"}, "names a file or a protocol"),
        ({"bsf": "a b"}, "bitstream filters"),
        ({"vf": {"scale": 1}}, "chain of filters"),
    ],
)
def test_values_are_bounded(options, words):
    assert words in complaint(options)


@pytest.mark.parametrize(
    "chain",
    [
        "movie=/etc/passwd", "amovie=x", "subtitles=/x.srt", "ass=x", "drawtext=textfile=/etc/passwd", "lut3d=x.cube",
        "scale=1:1,movie=x", "null,[a]movie=x", "null;movie=x[out]", "mov'ie'=x", "m\\ovie=x", "movie@a=x",
        "scale=w=1,sendcmd=f=x", "loudnorm=stats_file=x",
        "loudnorm=I=-23:7:x", "ladspa=file=x", "null,", "", "'", "null\\", "removelogo=x",
        "hwupload=derive_device=cuda", "scale=/w=/etc/passwd:h=90", "scale=h=90:/w=/etc/passwd",
        "scale='/w'=/etc/passwd",
        "loudnorm=I=-23:'stats_fil'e=/x", "loudnorm=I=-23:stats_\\\\file=/x", "psnr=stats_file=x",
        "metadata=print:file=x", "geq=1",
    ],
)  # fmt: skip
def test_filters_that_reach_beyond_their_stream_are_refused(chain):
    assert filter_problem(chain, VIDEO_FILTERS | AUDIO_FILTERS)


@pytest.mark.parametrize(
    "chain",
    ["scale=-2:720,setsar=1,format=yuv420p", "scale=w='min(1280,iw)':h=-2,fps=30000/1001", "yadif", "hue=s=0",
     r"select=eq(pict_type\,I),null", "fps@one=25", "scale=w=iw/2:h=ih/2", "crop=100:100:0:0"],
)  # fmt: skip
def test_ordinary_chains_pass(chain):
    assert filter_problem(chain, VIDEO_FILTERS) is None


def test_a_comma_inside_quotes_parts_no_filters():
    assert filter_names("scale=w='min(1280,iw)':h=-2,null") == ("scale", "null")


@given(st.text())
def test_any_text_is_a_chain_or_refused_in_words(chain):
    problem = filter_problem(chain, VIDEO_FILTERS)
    assert problem is None or problem


def test_input_options_have_times_and_an_end():
    assert not list(input_problems({"ss": "1:30", "t": 5, "accurate_seek": False}, "input_options"))
    texts = [str(p) for p in input_problems({"ss": "soon", "stream_loop": -1, "f": "lavfi"}, "input_options")]
    assert any("input_options.ss: is no time" in text for text in texts)
    assert any("would never end" in text for text in texts)
    assert any("input_options.f" in text for text in texts)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sseof": 5}, "input_options.sseof: counts back from the end, so it is negative"),
        ({"sseof": 0}, "input_options.sseof: counts back from the end, so it is negative"),
        ({"ss": 3, "to": 1}, "input_options.to: leaves nothing"),
        ({"ss": 3, "to": "0:03"}, "input_options.to: leaves nothing"),
        ({"t": 0}, "input_options.t: leaves nothing"),
    ],
)
def test_a_piece_without_a_length_is_refused(options, words):
    (problem,) = input_problems(options, "input_options")
    assert words in str(problem)


def test_a_piece_with_a_length_is_taken():
    for options in ({"sseof": -5}, {"ss": 3, "to": 4}, {"ss": 3, "to": 1, "t": 2}, {"to": 2}, {"ss": -1, "t": 1}):
        assert not list(input_problems(options, "input_options"))


def test_a_tag_is_what_the_job_says():
    tags = {"title": None, "comment": True, "track": 3}
    written = ["-metadata:s:v:0", "title=", "-metadata:s:v:0", "comment=true", "-metadata:s:v:0", "track=3"]
    assert list(arguments({"metadata": tags}, ":v:0")) == written


@pytest.mark.parametrize("metadata", ["title", "", "=film", " =film", 5, {"": "film"}, {" ": "film"}, {"a=b": "film"}])
def test_metadata_without_a_name_is_refused(metadata):
    (problem,) = output_problems({"metadata": metadata}, "v", None, "options")
    assert "options.metadata: is a map of tags" in str(problem)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(90, 90), ("1.5", 1.5), ("1:30", 90), ("01:01:01.5", 3661.5), ("1500ms", 1.5), ("-5", -5), ("x", None), ("", None),
     ("1:2:3:4", None), (True, None)],
)  # fmt: skip
def test_times_are_read_as_ffmpeg_writes_them(text, seconds):
    assert seconds_of(text) == seconds


def test_values_become_arguments_in_their_order():
    options = {
        "codec": "libx265",
        "x265-params": {"bframes": 8, "open-gop": False, "psy-rd": 1.5},
        "copyinkf": True,
        "autoscale": False,
        "metadata": {"language": "jpn", "title": "a=b: c"},
    }
    assert list(arguments(options, ":v:0")) == [
        "-codec:v:0", "libx265", "-x265-params:v:0", "bframes=8:open-gop=0:psy-rd=1.5", "-copyinkf:v:0",
        "-noautoscale:v:0", "-metadata:s:v:0", "language=jpn", "-metadata:s:v:0", "title=a=b: c",
    ]  # fmt: skip


def test_a_filter_of_one_stream_names_its_stream_to_ffmpeg():
    assert list(arguments({"af": "volume=2", "aq": 3}, ":a:1")) == ["-filter:a:1", "volume=2", "-q:a:1", "3"]
    assert list(arguments({"vf": "hflip"}, ":v:0")) == ["-filter:v:0", "hflip"]
