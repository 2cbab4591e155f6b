"""One honest percentage for a whole job."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from worker.core.record import progress_of_parts
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


def test_the_time_left_is_said_once_two_percent_are_done(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    meter = ProgressMeter([1.0])
    meter.begin(0, "ffmpeg")
    clock[0] += 4.0
    meter.report(0.019, 3.0, 0.1)
    assert meter.now.eta_seconds is None, "most of the 4 seconds went into what comes before the first picture"
    clock[0] += 1.0
    meter.report(0.02, 3.0, 0.1)
    assert meter.now.eta_seconds == 245.0


def test_the_time_left_of_a_long_job_is_said_earlier(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    meter = ProgressMeter([1.0])
    meter.begin(0, "ffmpeg")
    clock[0] += 360.0
    meter.report(0.01, 3.0, 0.1)
    assert meter.now.eta_seconds == 35_640.0


def test_the_time_left_of_a_divided_job_is_said_once_a_part_is_made_or_two_percent_are_done():
    assert progress_of_parts(frames=1000, done=19.0, fps=1.0, made=0).eta_seconds is None
    assert progress_of_parts(frames=1000, done=20.0, fps=10.0, made=0).eta_seconds == 98.0
    assert progress_of_parts(frames=10_000, done=100.0, fps=10.0, made=1).eta_seconds == 990.0


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
