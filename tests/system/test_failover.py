"""A cluster of brokers loses the leader of its queue in the middle of jobs. `make chaos` kills several, one by one."""

from __future__ import annotations

import sys

import pytest

from tests.chaos.failover import Failover

pytestmark = [pytest.mark.xdist_group("chaos"), pytest.mark.timeout(280)]


async def test_the_death_of_the_queues_leader_loses_and_doubles_nothing(tmp_path):
    failover = Failover(tmp_path / "world", 12, seed=3)
    findings = await failover.run()
    sys.stdout.write(failover.table(findings))
    assert findings.breaches == []
    assert sum(findings.states.values()) == 12
