"""Modules are found by entry points; a broken plug-in stops the start."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from rig import WriteTask

from worker.core.errors import InvalidJob, Misconfigured
from worker.core.job import TaskSpec
from worker.registry import GROUP, Registry


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, GROUP)


def test_the_installed_modules_load():
    loaded = Registry.load([point("ffmpeg", "worker.tasks.ffmpeg:FfmpegTask"), point("write", "rig:WriteTask")])
    assert set(loaded.tasks) == {"ffmpeg", "write"}


@pytest.mark.parametrize(
    ("points", "word"),
    [
        ([point("x", "no.such.module:Task")], "does not load"),
        ([point("x", "rig:NoSuchTask")], "does not load"),
        ([point("x", "rig:Rig")], "no subclass"),
        ([point("wrong", "rig:WriteTask")], "calls its module 'write'"),
        ([point("write", "rig:WriteTask"), point("write", "rig:WriteTask")], "two plug-ins"),
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
