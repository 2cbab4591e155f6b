"""Times, lengths of time and numbers of bytes as people read them, on a terminal and on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

_KIB: Final = 1024
_MINUTE: Final = 60


def moment(time: datetime | None) -> str:
    """Return a time on this host's clock, in whole seconds; nothing for None."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time else ""


def span(seconds: float | None) -> str:
    """Return `1:02:03` or `0:42`; nothing for None."""
    if seconds is None:
        return ""
    minutes, rest = divmod(max(0, round(seconds)), _MINUTE)
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def age(seconds: float) -> str:
    """Return `42 s`, `5 min`, `3 h` or `2 d`, rounded down."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", _MINUTE)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0, int(seconds))} s"


def size(count: float | None) -> str:
    """Return a number of bytes in binary units, three digits at the most; nothing for None."""
    if count is None:
        return ""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < _KIB:
            break
        value, unit = value / _KIB, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"  # noqa: PLR2004 - three digits
