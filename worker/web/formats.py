"""Numbers as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_KIB: Final = 1024
_MINUTE: Final = 60


def span(seconds: float | None) -> str:
    """Return `1:02:03` or `0:42`."""
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
    """Return a number of bytes in binary units, three digits at the most."""
    if count is None:
        return ""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < _KIB:
            break
        value, unit = value / _KIB, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"  # noqa: PLR2004 - three digits


def number(count: float) -> str:
    """Return `12 345`: thousands apart by a narrow space that does not break."""
    return f"{count:,.0f}".replace(",", "\u202f")


def clock(time: datetime | None) -> str:
    """Return a time on this host's clock, in whole seconds."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time else ""


def ago(time: datetime | None, now: datetime | None = None) -> str:
    """Return how long ago a time was."""
    return f"{age(((now or datetime.now(UTC)) - time).total_seconds())} ago" if time else ""


def between(start: datetime | None, end: datetime | None) -> str:
    """Return how long something took; nothing while it goes on."""
    return span((end - start).total_seconds()) if start and end else ""


def sentence(text: object) -> str:
    """Return a text as a sentence, which another may follow."""
    text = str(text).strip()
    sentence = text[:1].upper() + text[1:]
    return sentence if sentence.endswith((".", "?", "!")) else f"{sentence}."
