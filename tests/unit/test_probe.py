import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.command import Command, Exit, Reason
from worker.core.errors import (
    BadInput,
    DiskFull,
    InvalidJob,
    SourceMissing,
    StorageUnavailable,
    ToolFailed,
    ToolOutOfMemory,
)
from worker.media.failure import classify, damage, failed_stage
from worker.media.ffmpeg.formats import ACCEPTED_FORMATS
from worker.media.probe import classify_probe, media_info, parse_probe, probe_command

VIDEO = {
    "index": 0,
    "codec_type": "video",
    "codec_name": "h264",
    "width": 320,
    "height": 180,
    "avg_frame_rate": "30000/1001",
}


def ended(code: int | None = 1, tail: str = "", signal: int | None = None, **fields) -> Exit:
    return Exit(Command(("/usr/bin/ffmpeg",)), code, signal, 1.0, tail, **fields)


def stream(**fields):
    return parse_probe(json.dumps({"streams": [VIDEO | fields], "format": {"format_name": "mp4"}})).streams[0]


def test_the_probe_opens_files_only_and_never_a_list_of_files():
    argv = probe_command("ffprobe", Path("/in/a.mkv")).stages[0].argv
    assert argv[-1] == "file:/in/a.mkv"
    assert argv[argv.index("-protocol_whitelist") + 1] == "file,pipe"
    assert argv.index("-format_whitelist") < argv.index("-i")
    assert not {"hls", "concat", "dash", "tee", "lavfi", "sdp", "imf", "vobsub"} & set(ACCEPTED_FORMATS)


def test_frame_rates_and_pixel_shapes_are_exact():
    found = stream(sample_aspect_ratio="128:117")
    assert found.frame_rate == Fraction(30000, 1001)
    assert found.sample_aspect == Fraction(128, 117)
    assert stream(avg_frame_rate="0/0", r_frame_rate="25/1").frame_rate == 25
    assert stream(sample_aspect_ratio="0:1").sample_aspect == 1


@pytest.mark.parametrize(("matrix", "clockwise"), [(-90, 90), (90, 270), (180, 180), (-180, 180), (0, 0), (-89.6, 90)])
def test_a_display_matrix_counts_the_other_way_round(matrix, clockwise):
    assert stream(side_data_list=[{"side_data_type": "Display Matrix", "rotation": matrix}]).rotation == clockwise


def test_a_rotate_tag_without_a_matrix_turns_nothing_as_in_ffmpeg():
    assert stream(tags={"rotate": "90"}).rotation == 0


def test_a_picture_is_as_large_as_what_its_container_leaves_of_it():
    side = {"side_data_type": "Frame Cropping", "crop_top": 4, "crop_bottom": 0, "crop_left": 20, "crop_right": 10}
    cropped = stream(side_data_list=[side])
    assert (cropped.width, cropped.height) == (290, VIDEO["height"] - 4)
    assert stream(side_data_list=[side | {"crop_left": 400}]).width == 320


def test_matroska_s_tags_state_duration_and_frames():
    found = stream(duration="N/A", tags={"DURATION": "01:00:02.500000000", "NUMBER_OF_FRAMES": "75", "BPS": "900"})
    assert (found.duration, found.frames, found.bitrate_bps) == (3602.5, 75, 900)


def test_an_unknown_value_of_a_probe_is_none():
    found = stream(duration="N/A", color_transfer="unknown", bit_rate="N/A")
    assert (found.duration, found.color_transfer, found.bitrate_bps, found.language) == (None, None, None, None)


def test_cover_art_is_no_video():
    cover = VIDEO | {"index": 1, "disposition": {"attached_pic": 1, "default": 0}}
    sound = {"index": 0, "codec_type": "audio", "codec_name": "aac", "sample_rate": "48000", "channels": 2}
    info = parse_probe(json.dumps({"streams": [sound, cover], "format": {"duration": "N/A"}}))
    assert info.video is None
    assert info.duration is None
    assert info.streams[1].dispositions == {"attached_pic"}


@pytest.mark.parametrize("text", ["", "[", '{"streams": []}', '{"streams": [{"index": 0, "codec_type": "audio"}]}'])
def test_an_answer_without_a_readable_stream_is_bad_input(text):
    with pytest.raises(BadInput):
        parse_probe(text)


@given(st.dictionaries(st.sampled_from(["duration", "nb_frames", "avg_frame_rate", "sample_aspect_ratio"]), st.text()))
def test_odd_figures_never_break_the_parser(fields):
    assert stream(**fields).width == 320


def test_a_playlist_under_another_name_is_reported_as_what_it_is():
    error = classify_probe(ended(1, "[hls @ 0x5555] Format not on whitelist 'mov'\n"), "a.mp4")
    assert isinstance(error, BadInput)
    assert str(error) == "a.mp4 is a hls file, which is not among the accepted formats"


def test_the_probe_of_a_missing_file_may_pass():
    assert isinstance(classify_probe(ended(1, "file:/a.mkv: No such file or directory"), "a.mkv"), SourceMissing)


def test_a_probe_that_dies_says_nothing_of_the_file():
    with pytest.raises(ToolFailed):
        media_info(ended(None, "", 9), "a.mkv")


@pytest.mark.parametrize(
    ("tail", "kind"),
    [
        ("av_interleaved_write_frame(): No space left on device", DiskFull),
        ("[mov @ 0x1] moov atom not found\nError opening input", BadInput),
        ("file:/x: Invalid data found when processing input", BadInput),
        ("Unknown encoder 'libx266'", InvalidJob),
        ("Unrecognized option 'foo'.", InvalidJob),
        ("/nas/a.mkv: Input/output error", StorageUnavailable),
        ("Cannot allocate memory", ToolOutOfMemory),
        (
            "x264 [error]: malloc of size 5353683 failed\nError while opening encoder - maybe incorrect parameters",
            ToolOutOfMemory,
        ),
        ("what is this", ToolFailed),
    ],
)
def test_the_words_of_the_tool_state_the_class(tail, kind):
    assert type(classify(ended(1, tail))) is kind


def test_a_full_disk_weighs_more_than_what_follows_from_it():
    tail = "Error writing trailer: No space left on device\nInvalid data found when processing input"
    assert isinstance(classify(ended(1, tail)), DiskFull)


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (
            "x264 [error]: invalid tune 'flm'\n[libx264 @ 0x5] Error setting preset/tune medium/flm.\n",
            "x264 [error]: invalid tune 'flm'",
        ),
        ("[libx265 @ 0x5] Error setting preset/tune slow/flm.\n", "[libx265] Error setting preset/tune slow/flm."),
    ],
)
def test_an_encoder_s_own_words_come_before_ffmpeg_s_guess(tail, words):
    error = classify(ended(1, tail + "Error while opening encoder for output stream #0:0 - maybe incorrect parameters"))
    assert isinstance(error, InvalidJob)
    assert str(error) == f"ffmpeg exited 1 after 1 s: {words}"


def test_a_message_names_subject_number_and_cause():
    error = classify(ended(1, "[mov @ 0x55d] moov atom not found\nConversion failed!"), "a.mp4")
    assert str(error) == "a.mp4: ffmpeg exited 1 after 1 s: [mov] moov atom not found"


@pytest.mark.parametrize(
    "line",
    [
        "[matroska,webm @ 0x55da16e44900] File ended prematurely",
        "dam.mp4: corrupt decoded frame in stream 0",
        "[h264 @ 0x55602359cf00] error while decoding MB 10 9",
        "[in#0/mpegts @ 0x7f68] corrupt input packet in stream 1",
        "[mov,mp4 @ 0x5587a] stream 1, offset 0x18eb2: partial file",
        "[matroska,webm @ 0x55] Element at 0x1a40a ending at 0xc5da9f3 exceeds containing master element ending at 0x2",
        "[aist#0:1/aac @ 0x7f] [dec:aac @ 0x7f] Error submitting packet to decoder: Invalid data found",
    ],
)
def test_a_complaint_of_damage_counts_at_exit_0(line):
    found = damage(f"[aac @ 0x1] something else\n{line}\nmore")
    assert found is not None
    assert " @ 0x" not in found


@pytest.mark.parametrize("place", ["wav @ 0x55d", "in#0/wav @ 0x55d"])
def test_the_end_of_a_wav_without_a_length_is_no_damage_and_a_lost_packet_of_others_is(place):
    short = f"[{place}] Packet corrupt (stream = 0, dts = NOPTS).\n[in#0/wav @ 0x1] corrupt input packet in stream 0"
    assert damage(short) is None
    lost = "[mpegts @ 0x1] Packet corrupt (stream = 0, dts = 213302)."
    assert damage(f"{short}\n{lost}") is not None


def test_ordinary_warnings_are_no_damage():
    assert damage("[mp4 @ 0x1] Non-monotonous DTS\nGuessed Channel Layout for Input Stream #0.1 : mono") is None


def test_the_cause_of_a_broken_pipe_is_the_stage_that_failed_by_itself():
    peer = ended(None, "", 15, reason=Reason.CANCELLED)
    piped = ended(None, "", 13)
    cause = ended(1, "bad")
    assert failed_stage([piped, peer, cause]) is cause
    assert failed_stage([ended(0)]) is None
