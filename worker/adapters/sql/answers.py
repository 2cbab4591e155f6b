"""Since when a database answers us: whoever takes over a job must know that its holder could have renewed the lease."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from worker.core.ports import ClaimRequest


class Answers:
    """Notes every answer of a database, and since when none of them came late.

    `longest_gap` is how many seconds may lie between two answers. An outage that fits into such a gap ends no lease
    that its holder renews; one that does not fit shows, because an answer is missing.
    """

    def __init__(self, longest_gap: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest_gap = longest_gap
        self._clock = clock
        self._since: float | None = None
        self._last = 0.0

    def note(self) -> None:
        """Note that the database has just answered."""
        now = self._clock()
        if self._since is None or now - self._last > self._longest_gap:
            self._since = now
        self._last = now

    @property
    def steady_seconds(self) -> float:
        """Return for how long answers have come without a gap, up to the last of them."""
        return 0.0 if self._since is None else self._last - self._since


def holder_may_renew_until(
    lease_until: datetime, now: datetime, request: ClaimRequest, steady_seconds: float
) -> datetime:
    """Return until when the holder of a job whose lease ran out may come back, by what the database let it do.

    While the database was away nobody could renew, so the holder has one lease from when it was back; as long a
    silence as a job that publishes may keep is enough in any case.
    """
    longest = lease_until + timedelta(seconds=max(request.long_lease_seconds - request.lease_seconds, 0.0))
    back = now + timedelta(seconds=max(request.lease_seconds - min(steady_seconds, request.lease_seconds), 0.0))
    return min(longest, back)
