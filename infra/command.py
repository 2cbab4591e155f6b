"""A command of `infra` as a process: its exit code, and its error as one line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.core.errors import LeveretError

if TYPE_CHECKING:
    from collections.abc import Callable

STATE: Final = Path(__file__).resolve().parent.parent / ".local"
"""The folder of this checkout's services and of its demo."""


def exit_code(command: Callable[[], int]) -> int:
    """Return what `command` returns; 1 when it fails, which standard error says, 130 when it is interrupted."""
    try:
        return command()
    except LeveretError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
