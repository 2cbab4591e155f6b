"""The event loop that a worker runs on."""

from __future__ import annotations

import asyncio

import uvloop

from worker.cli.run import run


def test_a_worker_runs_on_uvloop(monkeypatch):
    loops = []

    async def run_worker(_settings, **_options):
        loops.append(asyncio.get_running_loop())

    monkeypatch.setattr("worker.app.worker.run_worker", run_worker)
    monkeypatch.setattr("worker.settings.load", dict)
    assert run() == 0
    assert [type(loop) for loop in loops] == [uvloop.Loop]
