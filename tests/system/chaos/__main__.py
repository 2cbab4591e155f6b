"""`python -m tests.system.chaos N=300 SEED=7`: a campaign, its table, and exit code 1 when the invariant broke."""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from pathlib import Path

from .campaign import Campaign


def main() -> int:
    """Return 0 when nothing was lost, doubled, torn or leaked."""
    told = dict(word.split("=", 1) for word in sys.argv[1:])
    count = int(told.get("N") or 300)
    seed = int(told.get("SEED") or random.SystemRandom().randrange(10**6))
    folder = Path(told.get("FOLDER") or tempfile.mkdtemp(prefix="leveret-chaos-"))
    _say(f"seed {seed}, {count} jobs, logs in {folder}")
    campaign = Campaign(folder, count, seed, seconds=60.0 + 2.5 * count)
    findings = asyncio.run(campaign.run())
    _say(campaign.table(findings))
    for breach in findings.breaches:
        _say(breach)
    return 1 if findings.breaches else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
