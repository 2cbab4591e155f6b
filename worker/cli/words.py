"""Lines for people, without the libraries that draw tables: all that a worker says."""

from __future__ import annotations

import re
import sys
from typing import Final

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Return `text` without what would steer a terminal: titles and errors come from foreign messages."""
    return _CONTROL.sub(lambda match: repr(match.group())[1:-1], text)


def say(line: str) -> None:
    """Print one line for people."""
    sys.stdout.write(printable(line) + "\n")


def warn(line: str) -> None:
    """Print one line on standard error."""
    sys.stdout.flush()
    sys.stderr.write(f"leveret: {printable(' '.join(line.split()))}\n")
