"""`python -m tests.system.chaos N=300 SEED=7 FUZZ=10000`: a campaign, its table; exit code 1 when something broke."""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from pathlib import Path

from .campaign import Campaign
from .fuzz import Fuzz


def main() -> int:
    """Return 0 when nothing was lost, doubled, torn or leaked, and every hostile message ended with a reason."""
    told = dict(word.split("=", 1) for word in sys.argv[1:])
    count = int(told.get("N") or 300)
    seed = int(told.get("SEED") or random.SystemRandom().randrange(10**6))
    folder = Path(told.get("FOLDER") or tempfile.mkdtemp(prefix="leveret-chaos-"))
    _say(f"seed {seed}, {count} jobs, logs in {folder}")
    campaign = Campaign(folder / "campaign", count, seed, seconds=60.0 + 2.5 * count)
    findings = asyncio.run(campaign.run())
    _say(campaign.table(findings))
    for breach in findings.breaches:
        _say(breach)
    fuzz = Fuzz(folder / "fuzz", int(told.get("FUZZ") or 10_000), seed, seconds=1200.0)
    breaches = [] if told.get("FUZZ") == "0" else asyncio.run(fuzz.run())
    _say(f"hostile messages: {fuzz.count}, {fuzz.facts}, breaches: {len(breaches)}")
    for breach in breaches:
        _say(breach[:500])
    return 1 if findings.breaches or breaches else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
