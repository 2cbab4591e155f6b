"""Limits for each address: requests a second, and failed logins."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from worker.web.problems import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURE_SECONDS: Final = 0.5
SLOWEST_SECONDS: Final = 8.0
REMEMBERED: Final = 4096
WAITING: Final = 64
"""The number of failed logins that wait at once; one more is refused at once."""


@dataclass(slots=True)
class Buckets:
    """The rate limit of each address: `rate` requests a second, `burst` at once. The oldest addresses are forgotten."""

    rate: float
    burst: float
    clock: Callable[[], float] = time.monotonic
    _levels: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def take(self, key: str) -> float:
        """Return 0 when the request may go on, else the seconds until it may be sent again."""
        now = self.clock()
        level, seen = self._levels.pop(key, (self.burst, now))
        level = min(self.burst, level + (now - seen) * self.rate)
        wait = 0.0 if level >= 1 else (1 - level) / self.rate
        self._levels[key] = (level - 1 if wait == 0 else level, now)
        while len(self._levels) > REMEMBERED:
            self._levels.popitem(last=False)
        return wait


@dataclass(slots=True)
class Failures:
    """Slows whoever guesses tokens: each failure of an address waits twice as long as the one before."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = asyncio.sleep
    _counts: OrderedDict[str, tuple[int, float]] = field(default_factory=OrderedDict)
    _waiting: int = 0

    async def wait_after(self, key: str) -> None:
        """Return when a failure of this address may be answered; Refused at once when too many wait already."""
        now = self.clock()
        count, seen = self._counts.pop(key, (0, now))
        count = 1 if now - seen > 600 else count + 1  # noqa: PLR2004 - ten minutes forgive
        self._counts[key] = (count, now)
        while len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)
        seconds = min(SLOWEST_SECONDS, FAILURE_SECONDS * 2 ** min(count - 1, 10))
        if self._waiting >= WAITING:
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "too many failed logins", {"Retry-After": "10"})
        self._waiting += 1
        try:
            waited = self.sleep(seconds)
            if asyncio.iscoroutine(waited):
                await waited
        finally:
            self._waiting -= 1
