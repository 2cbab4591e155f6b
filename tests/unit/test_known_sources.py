"""What a plan keeps of its sources: the same after its way through JSON, and nothing where it is too much."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from worker.core.media_info import MediaInfo, StreamInfo
from worker.core.parts import Part, Plan
from worker.tasks.shared.parts import known_sources, sources_of

VIDEO = StreamInfo(
    0, "video", "h264", duration=4.0, frame_rate=Fraction(30000, 1001), sample_aspect=Fraction(1), width=16, height=9
)
SOUND = StreamInfo(1, "audio", "aac", language="eng", dispositions=frozenset({"default", "dub"}), tags={"a": "b"})
FILM = MediaInfo("matroska,webm", 4.004, 0.5, 1000, None, (VIDEO, SOUND), chapters=2, tags={"title": "Łódź"})


def _plan(details) -> Plan:
    return Plan.of(Plan(0, 1, "id", "build", (Part(0, "key", 0, 1),), details).document())


def test_sources_are_the_same_after_their_way_through_a_plan():
    assert sources_of(_plan(known_sources([FILM, FILM]))) == [FILM, FILM]
    assert sources_of(_plan({})) is None


def test_a_value_that_is_too_long_or_no_number_is_not_kept():
    assert known_sources([replace(FILM, tags={"comment": "x" * 70_000})]) == {}
    assert known_sources([replace(FILM, duration=float("inf"))]) == {}
