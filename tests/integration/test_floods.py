"""Small floods of one publisher; `python -m tests.support.floods` makes large ones and measures them."""

from __future__ import annotations

import pytest

from tests.support.floods import flood_of_callbacks, flood_of_copies
from tests.support.loop import unharmed
from worker.engine.host.callbacks import MAX_WAITING

pytestmark = pytest.mark.xdist_group("rabbitmq")


async def test_copies_of_a_job_that_somebody_has_keep_no_other_job_waiting_for_more_than_themselves(harness, broker):
    async with unharmed():
        found = await flood_of_copies(harness, broker, 80)
    # One waits, and may come back meanwhile.
    assert 1 <= found["copies that waited"] < 80


async def test_a_silent_receiver_of_callbacks_costs_no_memory(harness, broker):
    async with unharmed():
        found = await flood_of_callbacks(harness, broker, MAX_WAITING + 20)
    assert found["callbacks that stay due"] == MAX_WAITING + 20
