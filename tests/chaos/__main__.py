"""`python -m tests.chaos N=300 SEED=7 FAILOVER=3 MEDIA=300 FUZZ=10000`: the campaigns, their tables.

0 leaves one out. `KIND=divided` makes the jobs of the first one films that all workers make together.
`SLOW=4` gives the campaigns four times the seconds, for a machine that is busy.

The exit code is 1 when something broke.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .campaign import Campaign
from .failover import Failover
from .fuzz import Fuzz
from .media import BrokenMedia

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> int:
    """Return 0 when nothing was lost, doubled, torn or leaked, and every hostile input ended with a reason."""
    signal.signal(signal.SIGTERM, _end)
    options = dict(word.split("=", 1) for word in sys.argv[1:])
    seed = int(options.get("SEED") or random.SystemRandom().randrange(10**6))
    folder = Path(options.get("FOLDER") or tempfile.mkdtemp(prefix="leveret-chaos-"))
    _say(f"seed {seed}, logs in {folder}")
    breaches: list[str] = []
    for name, (usual, part) in PARTS.items():
        if count := int(options.get(name) or usual):
            found = part(folder, count, seed)
            for breach in found:
                _say(breach[:500])
            breaches += found
    return 1 if breaches else 0


def _end(*_: object) -> None:
    """End with all services; a second SIGTERM does not break that off."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)


def _campaign(folder: Path, count: int, seed: int) -> list[str]:
    options = dict(word.split("=", 1) for word in sys.argv[1:])
    kind = options.get("KIND", "")
    # A machine that is busy or slow has as many times the seconds.
    slow = float(options.get("SLOW") or 1)
    # A divided film is five jobs, one after the other in part.
    seconds = 60.0 + (20.0 if kind == "divided" else 2.5) * count
    campaign = Campaign(folder / "campaign", count, seed, seconds=slow * seconds, calm_seconds=slow * 120.0, kind=kind)
    findings = asyncio.run(campaign.run())
    _say(campaign.table(findings))
    return findings.breaches


def _failover(folder: Path, rounds: int, seed: int) -> list[str]:
    failover = Failover(folder / "failover", 16, seed, rounds)
    findings = asyncio.run(failover.run())
    _say(failover.table(findings))
    return findings.breaches


def _media(folder: Path, count: int, seed: int) -> list[str]:
    media = BrokenMedia(folder / "media", count, seed)
    breaches = asyncio.run(media.run())
    _say(media.table())
    return breaches


def _fuzz(folder: Path, count: int, seed: int) -> list[str]:
    options = dict(word.split("=", 1) for word in sys.argv[1:])
    fuzz = Fuzz(folder / "fuzz", count, seed, seconds=1200.0 * float(options.get("SLOW") or 1))
    breaches = asyncio.run(fuzz.run())
    _say(f"hostile messages: {fuzz.count}, {fuzz.facts}, breaches: {len(breaches)}")
    return breaches


PARTS: dict[str, tuple[int, Callable[[Path, int, int], list[str]]]] = {
    "N": (300, _campaign),
    "FAILOVER": (3, _failover),
    "MEDIA": (300, _media),
    "FUZZ": (10_000, _fuzz),
}
"""Every campaign by the word that says how large it is, with its usual size."""


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
