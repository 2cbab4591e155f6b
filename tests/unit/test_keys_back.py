"""Where decoding begins: near the part where that is safe, and farther back where pictures lean on what is before."""

from __future__ import annotations

from fractions import Fraction

import pytest

from worker.media.parts.timeline import PacketReader, Timeline

# In the order of the file: the picture at 3 leans on that at 2, which is coded before it.
CLOSED = [
    (n * 12 + shown, "K" if shown == 0 else "_") for n in range(6) for shown in (0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10)
]
# Those at 10 and 11 of each GOP are coded after the next key frame.
OPEN = [
    (n * 12 + shown, "K" if shown == 0 else "_")
    for n in range(6)
    for shown in (0, *(() if n == 0 else (-2, -1)), *range(1, 10))
] + [(70, "_"), (71, "_")]


def _timeline(packets, *, has_index: bool) -> Timeline:
    reader = PacketReader(0, has_index=has_index)
    reader.line("stream|index=0|time_base=1/25|avg_frame_rate=25/1|r_frame_rate=25/1")
    for pts, flags in packets:
        reader.line(f"packet|stream_index=0|pts={pts}|dts={pts}|flags={flags}")
    found = reader.timeline()
    assert isinstance(found, Timeline)
    return found


@pytest.mark.parametrize(
    ("packets", "has_index", "back"), [(CLOSED, True, 1), (CLOSED, False, 2), (OPEN, True, 2), (OPEN, False, 2)]
)
def test_decoding_begins_one_key_frame_early_only_where_gops_are_closed_and_seeks_exact(packets, has_index, back):
    found = _timeline(packets, has_index=has_index)
    assert found.frames == 72
    assert found.seek(40) == Fraction(36 - 12 * back, 25)
    assert found.seek(5) is None, "there is nothing to go back to"
