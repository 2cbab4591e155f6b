"""When a machine may work."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from worker.core.hours import ActiveHours


def at(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 11, 21, hour, minute, second, tzinfo=UTC)


def test_no_hours_mean_always():
    hours = ActiveHours.parse("")
    assert hours.include(at(3))
    assert hours.seconds_to_change(at(3)) is None


def test_a_night_goes_over_midnight():
    hours = ActiveHours.parse("22:00-06:00")
    assert [hour for hour in range(24) if hours.include(at(hour))] == [0, 1, 2, 3, 4, 5, 22, 23]
    assert hours.include(at(5, 59, 59))


def test_the_end_of_a_range_is_outside():
    hours = ActiveHours.parse("09:30-17:45")
    assert hours.include(at(9, 30))
    assert not hours.include(at(17, 45))
    assert not hours.include(at(9, 29, 59))


def test_several_ranges_count_together_and_a_day_may_end_at_twenty_four():
    hours = ActiveHours.parse(" 20:00-24:00, 12:00-13:00 ")
    assert [hour for hour in range(24) if hours.include(at(hour))] == [12, 20, 21, 22, 23]
    assert str(hours) == "20:00-24:00,12:00-13:00"


@pytest.mark.parametrize(
    ("now", "seconds"), [(at(21, 59, 30), 30), (at(22), 8 * 3600), (at(5, 0), 3600), (at(6), 16 * 3600)]
)
def test_the_next_change_is_the_nearest_edge(now, seconds):
    assert ActiveHours.parse("22:00-06:00").seconds_to_change(now) == seconds


@pytest.mark.parametrize("text", ["22-6", "24:00-06:00", "22:00-25:00", "22:00-24:30", "08:00-08:00", "22:00", "x"])
def test_a_malformed_range_is_refused_by_name(text):
    with pytest.raises(ValueError, match="is no range of hours: write 22:00-06:00"):
        ActiveHours.parse(f"10:00-11:00,{text}")
