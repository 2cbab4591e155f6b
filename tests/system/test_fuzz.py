"""Hostile messages to a live worker: each ends as a row or among the dead, with a reason; the worker lives on."""

from __future__ import annotations

import pytest

from tests.chaos.fuzz import Fuzz

pytestmark = [pytest.mark.xdist_group("chaos"), pytest.mark.timeout(280)]


async def test_five_hundred_hostile_messages_end_with_a_reason_and_the_worker_lives(tmp_path):
    fuzz = Fuzz(tmp_path / "world", 500, seed=11, seconds=120)
    assert await fuzz.run() == []
    assert fuzz.facts["refused"] > 100
    assert fuzz.facts["jobs"] > 20
