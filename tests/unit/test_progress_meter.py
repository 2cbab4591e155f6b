"""One honest percentage for a whole job."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.engine.attempt.progress import ProgressMeter


def test_tasks_count_by_their_weight():
    meter = ProgressMeter([3.0, 1.0])
    meter.begin(0, "ffmpeg")
    meter.report(0.5, None, None)
    assert meter.now.percent == 37.5
    meter.begin(1, "cleanup")
    assert meter.now.percent == 75.0
    assert meter.now.task == "cleanup"


def test_an_unknown_fraction_gives_no_percentage():
    meter = ProgressMeter([1.0])
    meter.begin(0, "ffmpeg")
    meter.report(None, 25.0, 1.0)
    assert meter.now.percent is None
    assert meter.now.fps == 25.0
    assert meter.now.eta_seconds is None


@given(st.lists(st.floats(-1, 2), min_size=1, max_size=30))
def test_it_never_falls_and_never_says_done_before_the_record_stands(fractions):
    meter = ProgressMeter([1.0])
    meter.begin(0, "x")
    percentages = []
    for fraction in fractions:
        meter.report(fraction, None, None)
        percentages.append(meter.now.percent)
    assert percentages == sorted(percentages)
    assert all(0 <= percent < 100 for percent in percentages)
