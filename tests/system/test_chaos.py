"""A small campaign of faults: nothing is lost, doubled, torn or leaked. `make chaos` runs a large one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chaos.campaign import Campaign

pytestmark = [pytest.mark.xdist_group("chaos"), pytest.mark.timeout(280)]


async def test_under_faults_no_job_is_lost_doubled_torn_or_leaked(tmp_path):
    seed = int(os.environ.get("SEED", "20"))
    campaign = Campaign(tmp_path / "world", 25, seed, seconds=40, quiet_kills=1)
    findings = await campaign.run()
    sys.stdout.write(campaign.table(findings))
    assert findings.breaches == []
    assert sum(findings.states.values()) == 26
    assert sum(campaign.faults.values()) >= 5
