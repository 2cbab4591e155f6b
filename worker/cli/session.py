"""Exit codes, and the text of a file, for several commands."""

from __future__ import annotations

import sys
from pathlib import Path

from worker.control.errors import Refused
from worker.core.message.wire import MAX_BODY_BYTES
from worker.core.record import TERMINAL

EXIT_CODES = {"completed": 0, "dead": 1, "cancelled": 2}
"""The exit code of a command that waited for a job, by the job's final state."""

assert EXIT_CODES.keys() == TERMINAL  # noqa: S101 - every final state has a code


def read_file(name: str) -> bytes:
    """Return what is in the file, or on standard input for `-`; at most a little more than a message may have."""
    limit = MAX_BODY_BYTES + 1
    if name == "-":
        return sys.stdin.buffer.read(limit)
    try:
        with Path(name).open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise Refused(f"cannot read {name}: {error.strerror}") from error
