from fractions import Fraction
from pathlib import Path

import pytest

from worker.core.command import Command, Exit
from worker.core.errors import VerificationFailed
from worker.core.media_info import MediaInfo, StreamInfo
from worker.media.verify import Expected, ExpectedStream, check, check_decoded, decode_command

VIDEO = StreamInfo(0, "video", "h264", duration=10.0, frame_rate=Fraction(25))
AUDIO = StreamInfo(1, "audio", "aac", duration=10.0)
INFO = MediaInfo("matroska,webm", 10.0, 0.0, 1000, None, (VIDEO, AUDIO))
PROMISE = (ExpectedStream("video", "h264"), ExpectedStream("audio", "aac"))


def ended(code: int, tail: str = "") -> Exit:
    return Exit(Command(("ffmpeg",)), code, None, 1.0, tail)


def test_an_output_that_keeps_its_promise_passes():
    check(INFO, Expected(PROMISE, at_least=10.0, at_most=10.0, frames=250), "out.mkv")
    check(INFO, Expected(), "out.mkv")


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (Expected(PROMISE[:1]), "video, audio instead of video"),
        (Expected((*PROMISE, ExpectedStream("subtitle"))), "instead of video, audio, subtitle"),
        (Expected((ExpectedStream("video", "hevc"), PROMISE[1])), "stream 0 is h264 instead of hevc"),
        (Expected(at_least=11.2), "lasts 10.00 s instead of 11.20 s"),
        (Expected(at_most=8.5), "lasts 10.00 s instead of 8.50 s"),
        (Expected(frames=0), "not one frame"),
    ],
)
def test_each_broken_promise_is_reported(expected, words):
    with pytest.raises(VerificationFailed, match=words) as raised:
        check(INFO, expected, "out.mkv")
    assert str(raised.value).startswith("out.mkv is not what was promised")


def test_a_timecode_track_that_the_muxer_adds_is_no_fault():
    streams = (VIDEO, AUDIO, StreamInfo(2, "data", "tmcd"))
    check(MediaInfo("mov", 10.0, 0.0, 1000, None, streams), Expected(PROMISE), "out.mov")


def test_an_unknown_duration_is_a_fault_only_where_one_was_promised():
    info = MediaInfo("h264", None, 0.0, 1000, None, (StreamInfo(0, "video", "h264"),))
    check(info, Expected(), "out.h264")
    with pytest.raises(VerificationFailed, match="no duration"):
        check(info, Expected(at_least=10.0), "out.h264")


def test_a_decode_that_complains_fails_at_exit_0_too():
    assert "-c:s" in decode_command("ffmpeg", Path("/x.mkv")).stages[0].argv
    check_decoded(ended(0, "[mp4 @ 0x1] something harmless"), "out.mkv")
    with pytest.raises(VerificationFailed, match="error while decoding MB 1 2"):
        check_decoded(ended(0, "[h264 @ 0x5] error while decoding MB 1 2"), "out.mkv")
    with pytest.raises(VerificationFailed, match="exited 1"):
        check_decoded(ended(1), "out.mkv")
