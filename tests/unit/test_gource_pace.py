"""How fast a history is drawn, so that the film is as long as asked for."""

import pytest

from visualizers.gitlog import Commit
from visualizers.gource_pace import corrected, miss_of, speed, with_pace
from visualizers.gource_params import GourceParams

DAY = 86_400


def params(**options):
    return GourceParams.model_validate({"repo_url": "https://example.org/a.git"} | options)


def days(count):
    return [Commit(1_600_000_000, "Ada", ()), Commit(1_600_000_000 + count * DAY, "Ada", ())]


def test_a_length_is_that_of_the_film_and_not_of_its_history():
    assert speed(params(length=60), days(47)) == pytest.approx(1.0), "13 s are drawn after the last commit"
    assert speed(params(length=60, time_scale=2), days(107)) == pytest.approx(1.0)
    assert speed(params(length=60, seconds_per_day=3), days(47)) == 3


def test_a_film_that_came_to_another_length_is_drawn_at_another_speed():
    asked = params(length=60, output_framerate=25)
    assert corrected(asked, days(50), 1.0, 60 * 25) is None
    assert corrected(asked, days(50), 1.0, 61 * 25) is None, "within 2 %"
    assert corrected(asked, days(50), 1.0, 70 * 25) == pytest.approx(0.8)
    assert corrected(asked, days(50), 1.0, 55 * 25) == pytest.approx(1.1)
    for given in ({"seconds_per_day": 1}, {"stop_at_time": 5}):
        assert corrected(params(length=60, **given), days(50), 1.0, 700 * 25) is None


def test_a_film_that_cannot_be_as_short_is_drawn_once_and_says_how_long_it_is():
    asked = params(length=2, output_framerate=25)
    pace = speed(asked, days(10))
    assert corrected(asked, days(10), pace, 16 * 25) is None
    assert miss_of(asked, 16 * 25).startswith("the film lasts 16.0 s, not 2 s")
    assert miss_of(asked, 2 * 25) == ""
    assert miss_of(params(output_framerate=25), 16 * 25) == "", "nobody asked for a length"


def test_another_speed_is_the_same_command_otherwise():
    command = ("gource", "--seconds-per-day", "1.000000", "--path", "x")
    assert with_pace(command, 0.0) == ("gource", "--seconds-per-day", "0.000010", "--path", "x")
