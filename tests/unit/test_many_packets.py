"""Files with more packets than a worker has memory for: a few bytes of a file are a packet."""

from fractions import Fraction

import pytest

from worker.core.media_info import MediaInfo, StreamInfo
from worker.media.parts import timeline as parts
from worker.media.parts.timeline import PacketReader
from worker.media.timeline import MAX_JUMPS
from worker.media.timeline import Timeline as Lengths

STREAM = "stream|index=0|time_base=1/25|avg_frame_rate=25/1|r_frame_rate=25/1"


def packet(number: int) -> str:
    return f"packet|stream_index=0|pts={number}|dts={number}|pos={number * 7}|size=7|flags=K__"


@pytest.mark.parametrize(("count", "is_whole"), [(10, True), (11, False), (5000, False)])
def test_a_film_of_endless_pictures_is_not_divided_and_their_times_take_no_memory(count, is_whole):
    reader = PacketReader(0, has_index=True, most=10)
    for number in range(count):
        reader.line(packet(number))
    reader.line(STREAM)
    found = reader.timeline()
    assert found == "it has more than 10 pictures" if not is_whole else found.frames == 10
    assert (reader.counts[0], len(reader._shown), len(reader._coded), len(reader._keys)) == (count, 10, 10, 10)


def test_key_frames_beyond_those_whose_places_are_kept_are_known_by_their_times(monkeypatch):
    monkeypatch.setattr(parts, "MAX_PLACES", 3)
    reader = PacketReader(0, has_index=True)
    for number in range(10):
        reader.line(packet(number))
    reader.line(STREAM)
    found = reader.timeline()
    assert found.frames == 10
    assert found.entries(range(10)) == {Fraction(n, 25): (n * 7, n * 7 + 7) for n in range(3)}


def test_a_clock_that_jumps_at_every_packet_is_measured_and_some_of_the_jumps_are_named():
    stream = StreamInfo(index=0, kind="audio", codec="mp2")
    lengths = Lengths(MediaInfo("mpegts", 1.0, 0.0, 1000, None, (stream,)))
    for number in range(3 * MAX_JUMPS):
        at = number + 1000 * (number % 2)
        lengths.line(f"0,{at},{at},1.0,K__")
    assert len(lengths.jumps) == MAX_JUMPS
    assert lengths.seconds == pytest.approx(3 * MAX_JUMPS)
