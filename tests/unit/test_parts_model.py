"""The model of many workers: one needs the sum, more never need longer, and the costs are those that were measured."""

from itertools import pairwise

import pytest

from benchmarks.parts_model import MESSAGE_SECONDS, WORKERS, Costs, Line, Spans, bend, simulated
from worker.core.parts import PartLength

COSTS = Costs(0.02, 0.5, Line(1.0, 0.0001), Line(2.0, 0.0002), Line(0.5, 0.0003))
FRAMES = 7200 * 25


def test_one_worker_needs_the_sum_of_all():
    took, parts = simulated(1500, 1, COSTS, PartLength(seconds=10))
    others = COSTS.plan.of(1500) + COSTS.join.of(1500) + COSTS.sound.of(1500)
    assert parts == 6
    assert took == pytest.approx(1500 * COSTS.frame + others + 6 * COSTS.part + 8 * MESSAGE_SECONDS)


def test_more_workers_never_need_longer_and_two_need_little_more_than_half():
    times = [simulated(FRAMES, count, COSTS, "auto")[0] for count in WORKERS]
    assert all(after <= before * 1.001 for before, after in pairwise(times))
    assert times[0] / times[1] > 1.85
    assert 1 < bend(FRAMES, COSTS) <= 1024


def test_costs_are_computed_from_measured_spans():
    spans = Spans(plan=2.0, join=2.0, frames=1000, parts=[(0, 3.0), (500, 11.0), (500, 10.0)])
    short = Spans(plan=1.5, join=2.5, frames=500, parts=[(0, 2.0), (500, 10.5)])
    long = Spans(plan=2.0, join=2.0, frames=1000, parts=[(0, 3.0), (500, 11.0), (500, 10.0)])
    costs = spans.costs(short, long, 0.022)
    assert costs == Costs(pytest.approx(0.02), pytest.approx(0.5), Line(1.0, 0.001), Line(2.0, 0.0), Line(1.0, 0.002))


def test_a_film_that_one_worker_makes_whole_has_one_part():
    assert simulated(1000, 1, COSTS, "auto") == (pytest.approx(20.3), 1)
