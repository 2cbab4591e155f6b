"""Numbers, times and sentences as the page writes them."""

from __future__ import annotations

from datetime import UTC, datetime

from worker.core.figures import age, span


def number(count: float) -> str:
    """Return `12 345`: thousands apart by a narrow space that does not break."""
    return f"{count:,.0f}".replace(",", "\u202f")


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
