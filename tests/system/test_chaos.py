"""A small campaign of faults: nothing is lost, doubled, torn or leaked. `make chaos` runs a large one."""

from __future__ import annotations

import os
import sys

import pytest

from tests.chaos.campaign import Campaign
from tests.chaos.faults import absent
from tests.chaos.invariant import Findings
from tests.chaos.world import World

pytestmark = [pytest.mark.xdist_group("chaos"), pytest.mark.timeout(280)]

JOBS = 16
"""Each kind that carries a secret, a divided film, and ten drawn of all kinds."""


async def test_under_faults_no_job_is_lost_doubled_torn_or_leaked(tmp_path):
    seed = int(os.environ.get("SEED", "20"))
    campaign = Campaign(tmp_path / "world", JOBS, seed, seconds=40, quiet_kills=1)
    findings = await campaign.run()
    sys.stdout.write(campaign.table(findings))
    assert findings.breaches == []
    assert sum(findings.states.values()) >= JOBS + 1 + 6 * campaign.hostile.rounds
    assert sum(campaign.faults.values()) >= 5


def test_a_fault_that_this_machine_cannot_have_is_reported_in_the_table(tmp_path):
    campaign = Campaign(tmp_path / "world", 1, seed=1, seconds=1)
    campaign.faults["SIGKILL of a worker"] = 3
    campaign.absent = absent(World(tmp_path / "world"))
    shown = campaign.table(Findings())
    assert "| · SIGKILL of a worker | 3 |" in shown
    assert "| · full scratch | none: no tmpfs can be mounted here" in shown
