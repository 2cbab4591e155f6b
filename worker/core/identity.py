"""The identity of a source, by which it is known again: under another name, by another path, after a restart.

Size and time say cheaply that a path holds what it held. A fingerprint says what the file is: its size and the hash of
samples of its content. It goes with the content: a renamed file has the same one, a new file of the same name has not.
"""

from __future__ import annotations

import hashlib
from datetime import datetime  # noqa: TC003 - pydantic reads it at run time
from typing import Any, Final

from worker.core.record import Record

SAMPLE_BYTES: Final = 64 * 1024
SAMPLES: Final = 4
"""The first of them is the head of the file, the last its tail; all of a file that is not larger is read."""


class SourceRecord(Record):
    """A source that the database remembers.

    `version` is what changes when the file does (its size and time, or its tag), `modified` seconds since 1970.
    `facts` is what a probe found, `problem` why it found nothing; `health` is empty for a file that was read whole
    without an error, and None where nobody looked.
    """

    uri: str
    bytes: int
    modified: float
    version: str
    fingerprint: str | None = None
    facts: dict[str, Any] | None = None
    problem: str | None = None
    health: str | None = None
    seen_at: datetime | None = None

    def is_still(self, found: SourceRecord) -> bool:
        """Return whether `found`, of the same path, is the file that this one was."""
        return (self.bytes, self.version) == (found.bytes, found.version)


def sample_ranges(size: int) -> tuple[tuple[int, int], ...]:
    """Return (start, length) of the samples of a file of so many bytes."""
    if size <= SAMPLES * SAMPLE_BYTES:
        return ((0, size),) if size else ()
    last = size - SAMPLE_BYTES
    return tuple((last * number // (SAMPLES - 1), SAMPLE_BYTES) for number in range(SAMPLES))


class Fingerprint:
    """Made of a file's size and its samples, in the order of `sample_ranges`."""

    def __init__(self, size: int) -> None:
        self._hash = hashlib.sha256(f"leveret source {size}\n".encode())

    def update(self, piece: bytes) -> None:
        """Take in a piece of a sample."""
        self._hash.update(piece)

    def text(self) -> str:
        """Return it: 64 hex digits."""
        return self._hash.hexdigest()
