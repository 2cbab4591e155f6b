"""Modules are found by entry points; a broken plug-in stops the start."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from tests.support.engine import WriteTask
from worker.core.errors import InvalidJob, Misconfigured
from worker.core.hints import nearest
from worker.core.job import TaskSpec
from worker.registry import GROUP, Registry
from worker.tasks.ffmpeg import FfmpegTask


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, GROUP)


def test_the_installed_modules_load():
    loaded = Registry.load(
        [point("ffmpeg", "worker.tasks.ffmpeg:FfmpegTask"), point("write", "tests.support.engine:WriteTask")]
    )
    assert set(loaded.tasks) == {"ffmpeg", "write"}


@pytest.mark.parametrize(
    ("points", "word"),
    [
        ([point("x", "no.such.module:Task")], "does not load"),
        ([point("x", "tests.support.engine:NoSuchTask")], "does not load"),
        ([point("x", "tests.support.engine:Harness")], "no subclass"),
        ([point("wrong", "tests.support.engine:WriteTask")], "calls its module 'write'"),
        (
            [point("write", "tests.support.engine:WriteTask"), point("write", "tests.support.engine:WriteTask")],
            "two plug-ins",
        ),
    ],
)
def test_a_plug_in_that_cannot_serve_stops_the_start(points, word):
    with pytest.raises(Misconfigured, match=word):
        Registry.load(points)


def test_data_is_validated_with_the_path_it_stood_at():
    registry = Registry({"write": WriteTask()})
    with pytest.raises(InvalidJob) as caught:
        registry.parse(TaskSpec("write", {"nam": "x", "text": 3}, "tasks[2].data"))
    assert [str(problem) for problem in caught.value.problems] == [
        "tasks[2].data.text: input should be a valid string",
        "tasks[2].data.nam: unknown field; did you mean 'name'?",
    ]


def complaints(data) -> list[str]:
    with pytest.raises(InvalidJob) as caught:
        Registry({"ffmpeg": FfmpegTask()}).parse(TaskSpec("ffmpeg", data, "data"))
    return [str(problem) for problem in caught.value.problems]


def test_an_unknown_field_is_reported_with_the_nearest_of_its_own_object():
    messages = complaints(
        {
            "source": ["a.mkv"],
            "source_map": [{"sources": 0, "steam": 1}],
            "output_maps": [{"stream": 0, "option": {}}],
            "output_file": "b.mkv",
        }
    )
    assert "data.source: unknown field; did you mean 'sources'?" in messages
    assert "data.source_map[0].sources: unknown field; did you mean 'source'?" in messages
    assert "data.source_map[0].steam: unknown field; did you mean 'stream'?" in messages
    assert "data.output_maps[0].option: unknown field; did you mean 'options'?" in messages


def test_a_list_that_is_too_short_or_too_long_is_reported_in_plain_words():
    assert complaints({"sources": [], "output_file": "b.mkv"}) == ["data.sources: needs at least 1 item"]
    assert complaints({"sources": ["a"] * 101, "output_file": "b.mkv"}) == ["data.sources: takes at most 100 items"]


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("libx246", ["libx265", "libx264"], "libx264"),
        ("source", ["source", "sources"], "sources"),
        ("veryfst", ["veryfast", "faster"], "veryfast"),
    ],
)
def test_swapped_letters_are_nearest_and_no_name_is_its_own_hint(name, known, meant):
    assert nearest(name, known) == f"; did you mean {meant!r}?"


def test_a_known_word_gets_no_hint():
    assert nearest("source", ["source"]) == ""
