"""Questions about a file are asked once an attempt, as long as the file stays the same."""

from __future__ import annotations

import os

import pytest

from worker.core.errors import BadInput
from worker.engine.attempt.answers import FileAnswers


class Looks:
    """Counts how often somebody looks."""

    def __init__(self):
        self.count = 0

    async def __call__(self):
        self.count += 1
        return self.count


async def test_a_question_about_a_file_is_asked_once(tmp_path):
    film, answers, looks = tmp_path / "film.mkv", FileAnswers(), Looks()
    film.write_text("x")
    assert [await answers.once("probe", film, looks) for _ in range(3)] == [1, 1, 1]


async def test_another_question_and_another_file_are_asked_too(tmp_path):
    answers, looks = FileAnswers(), Looks()
    for name in ("a", "b"):
        (tmp_path / name).write_text("x")
    asked = [("probe", "a"), ("probe", "b"), ("end", "a"), ("probe", "a")]
    assert [await answers.once(question, tmp_path / name, looks) for question, name in asked] == [1, 2, 3, 1]


@pytest.mark.parametrize("change", ["written", "replaced", "touched"])
async def test_a_file_that_changed_is_asked_again(tmp_path, change):
    film, answers, looks = tmp_path / "film.mkv", FileAnswers(), Looks()
    film.write_text("x")
    await answers.once("probe", film, looks)
    if change == "written":
        film.write_text("xy")
    elif change == "replaced":
        (tmp_path / "other").write_text("y")
        (tmp_path / "other").replace(film)
    else:
        os.utime(film, ns=(1, 1))
    assert await answers.once("probe", film, looks) == 2


async def test_an_error_is_no_answer_and_a_file_that_is_not_there_is_looked_for_each_time(tmp_path):
    film, answers, looks = tmp_path / "film.mkv", FileAnswers(), Looks()

    async def fail():
        raise BadInput("no media")

    assert [await answers.once("probe", film, looks) for _ in range(2)] == [1, 2]
    film.write_text("x")
    with pytest.raises(BadInput):
        await answers.once("probe", film, fail)
    assert await answers.once("probe", film, looks) == 3
