"""Hostile messages to a live worker: each ends as a row or among the dead, with a reason; the worker lives on."""

from __future__ import annotations

import pytest

from tests.chaos.fuzz import Fuzz

pytestmark = [pytest.mark.xdist_group("chaos"), pytest.mark.timeout(420)]


async def test_five_hundred_hostile_messages_end_with_a_reason_and_the_worker_lives(tmp_path):
    # what the broker killed is taken up by a round of chores, one a minute; a message may die after the first round
    fuzz = Fuzz(tmp_path / "world", 500, seed=11, seconds=240)
    assert await fuzz.run() == []
    assert fuzz.facts["refused"] > 100
    assert fuzz.facts["jobs"] > 20
