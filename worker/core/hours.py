"""Active hours of a machine: ranges of local time, for hosts that are lent at night."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

_RANGE: Final = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)$")
_DAY: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class ActiveHours:
    """Ranges of minutes since midnight, the end excluded; one that ends before it begins goes over midnight.

    None at all means always.
    """

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def parse(cls, text: str) -> ActiveHours:
        """Return the hours that `22:00-06:00,12:00-13:30` means; ValueError names what is no range."""
        ranges = []
        for part in filter(None, (part.strip() for part in text.split(","))):
            match = _RANGE.match(part)
            begin, end = (0, 0) if match is None else (_minutes(match[1], match[2]), _minutes(match[3], match[4]))
            if match is None or end > _DAY or begin == end:
                raise ValueError(f"{part[:50]!r} is no range of hours: write 22:00-06:00")
            ranges.append((begin, end))
        return cls(tuple(ranges))

    def include(self, now: datetime) -> bool:
        """Return whether the local time `now` is in one of the ranges."""
        minute = now.hour * 60 + now.minute
        return not self.ranges or any(
            begin <= minute < end if begin < end else minute >= begin or minute < end for begin, end in self.ranges
        )

    def seconds_to_change(self, now: datetime) -> float | None:
        """Return the seconds until the next range begins or ends; None when that never happens."""
        second = now.hour * 3600 + now.minute * 60 + now.second + now.microsecond / 1e6
        edges = {edge % _DAY * 60 for pair in self.ranges for edge in pair}
        return min(((edge - second) % (_DAY * 60) or _DAY * 60.0 for edge in edges), default=None)

    def __str__(self) -> str:
        """Return the ranges as they are written."""
        return ",".join(f"{_clock(begin)}-{_clock(end)}" for begin, end in self.ranges)


def _minutes(hours: str, minutes: str) -> int:
    return int(hours) * 60 + int(minutes)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
