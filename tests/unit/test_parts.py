"""Plans: complete, without overlap, without an empty part, and the same after a round trip."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.parts import (
    Fleet,
    Part,
    PartLength,
    Plan,
    bounds,
    even_bounds,
    identity_of,
    in_order,
    part_id,
    part_key,
    part_seconds,
    with_short_end,
)

RATES = [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(60000, 1001), Fraction(120)]


def plan_of(*ranges: tuple[int, int], sound: bool = False) -> Plan:
    identity = identity_of("film", ranges)
    parts = [Part(i, part_key(identity, "frames", *pair), *pair) for i, pair in enumerate(ranges)]
    if sound:
        parts.append(Part(len(parts), part_key(identity, "sound"), name="sound", details={"maps": [1]}))
    return Plan(0, ranges[-1][1], identity, "ffmpeg 5.1", tuple(parts), {"rate": "24000/1001"})


@given(
    frames=st.integers(1, 400_000),
    rate=st.sampled_from(RATES),
    seconds=st.floats(0.1, 4000),
    multiple=st.integers(1, 600),
)
def test_cuts_are_complete_without_overlap_and_no_part_is_empty_or_tiny(frames, rate, seconds, multiple):
    cuts = bounds(frames, rate, seconds, multiple)
    assert cuts[0] == 0
    assert cuts[-1] == frames
    lengths = [b - a for a, b in pairwise(cuts)]
    assert all(length > 0 for length in lengths)
    assert all(cut % multiple == 0 for cut in cuts[:-1])
    assert len(lengths) <= 2001
    if len(lengths) > 1:
        assert min(lengths) >= 2 * rate - 1
    plan_of(*pairwise(cuts))


@given(
    frames=st.integers(1, 400_000),
    rate=st.sampled_from(RATES),
    workers=st.integers(1, 40),
    multiple=st.integers(1, 600),
)
def test_a_short_end_keeps_every_cut_and_halves_no_more_than_a_part_a_worker(frames, rate, workers, multiple):
    fleet = Fleet(workers)
    cuts = bounds(frames, rate, 30, multiple)
    found = with_short_end(cuts, rate, fleet, multiple)
    fresh = sorted(set(found) - set(cuts))
    assert set(cuts) <= set(found)
    assert len(fresh) <= (workers if workers > 1 else 0)
    assert all(cut % multiple == 0 for cut in fresh)
    assert all(b - a >= 10 * rate for a, b in pairwise(found) if a in fresh or b in fresh)
    plan_of(*pairwise(found))


@given(frames=st.integers(1, 400_000), count=st.integers(0, 40), multiple=st.integers(1, 600))
def test_even_parts_are_off_their_share_by_one_group_of_pictures_at_most(frames, count, multiple):
    cuts = even_bounds(frames, count, multiple)
    lengths = [b - a for a, b in pairwise(cuts)]
    assert (cuts[0], cuts[-1]) == (0, frames)
    assert all(cut % multiple == 0 for cut in cuts[:-1])
    assert all(length > 0 for length in lengths)
    assert len(lengths) <= max(1, count)
    if frames >= 2 * multiple * max(1, count):
        assert len(lengths) == max(1, count)
        assert all(abs(length - frames / max(1, count)) <= multiple for length in lengths)


def test_two_workers_share_a_minute_evenly():
    assert even_bounds(1803, 2, 60) == (0, 900, 1803)


def test_two_workers_end_a_film_of_three_minutes_with_parts_of_half_the_length():
    cuts = bounds(4500, Fraction(25), part_seconds(180, Fleet(2), "auto") or 0, 250)
    lengths = [b - a for a, b in pairwise(with_short_end(cuts, Fraction(25), Fleet(2), 250))]
    assert lengths == [750, 750, 750, 750, 250, 500, 250, 500]


@given(frames=st.integers(1, 10_000), cuts=st.sets(st.integers(1, 9_999)), sound=st.booleans())
def test_a_plan_is_the_same_after_its_way_through_json(frames, cuts, sound):
    inner = sorted(cut for cut in cuts if cut < frames)
    edges = [0, *inner, frames]
    plan = plan_of(*pairwise(edges), sound=sound)
    assert Plan.of(plan.document()) == plan
    assert sum(part.frames for part in plan.parts) == frames


@pytest.mark.parametrize(
    ("ranges", "text"),
    [
        (((0, 10), (11, 20)), "part 1 begins at frame 11, not at 10"),
        (((0, 10), (9, 20)), "part 1 begins at frame 9, not at 10"),
        (((0, 10), (10, 10)), "part 1 is empty"),
        (((5, 10),), "part 0 begins at frame 5, not at 0"),
    ],
)
def test_a_plan_with_a_gap_an_overlap_or_an_empty_part_is_refused(ranges, text):
    with pytest.raises(ValueError, match=text):
        plan_of(*ranges)


def test_a_plan_that_ends_before_the_film_is_refused():
    plan = plan_of((0, 10), (10, 20))
    with pytest.raises(ValueError, match="end at frame 20 of 21"):
        Plan.of(plan.document() | {"frames": 21})


def test_keys_differ_by_range_and_by_what_the_parts_are_made_from():
    one, other = identity_of("a.mkv", 100, "crf=23"), identity_of("a.mkv", 101, "crf=23")
    keys = {part_key(i, "frames", a, b) for i in (one, other) for a, b in ((0, 10), (10, 20), (0, 20))}
    assert len(keys) == 6
    assert part_key(one, "sound") not in keys
    assert part_key(one, "frames", 0, 10) == part_key(identity_of("a.mkv", 100, "crf=23"), "frames", 0, 10)


def test_auto_divides_for_several_workers_or_a_long_film_only():
    assert part_seconds(180, Fleet(workers=1), "auto") is None
    assert part_seconds(180, Fleet(workers=2), "auto") == 30
    assert part_seconds(180, Fleet(workers=100), "auto") == 10
    assert part_seconds(7200, Fleet(workers=1), "auto") == 60
    assert part_seconds(7200, Fleet(workers=2), "never") is None
    assert part_seconds(5, Fleet(workers=1), PartLength(seconds=2)) == 2


def test_the_sound_is_given_out_first_and_then_the_longest_part():
    plan = plan_of((0, 10), (10, 40), (40, 60), sound=True)
    assert [part.index for part in in_order(plan.parts)] == [3, 1, 2, 0]


def test_ids_of_parts_sort_as_the_parts_do():
    assert part_id("film", 7) == "film.p0007"
