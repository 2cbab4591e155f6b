"""The signs of life of a tool, and what it costs to look for them."""

import os

from worker.process import watch
from worker.process.watch import Pulse


def test_processes_are_not_looked_for_while_a_tool_tells_something_new(monkeypatch):
    pulse = Pulse([os.getpid()])
    looks = []
    monkeypatch.setattr(watch, "_family", lambda pids: looks.append(pids) or iter(()))
    pulse.line("frame=1")
    assert pulse.idle_seconds(fresh=60) < 60
    assert not looks
    pulse.idle_seconds(fresh=0)
    assert looks


def test_a_figure_that_stays_or_changes_by_itself_is_no_sign_of_life(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: clock[0])
    pulse = Pulse([])
    for clock[0], line in ((1, "frame=1"), (5, "frame=1"), (6, "fps=3"), (8, "speed=2x")):
        pulse.line(line)
    assert pulse.idle_seconds() == 7
    pulse.line("frame=2")
    assert pulse.idle_seconds() == 0
