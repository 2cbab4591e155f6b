"""Names in storages that are the workers' own, and that no job may touch."""

from __future__ import annotations

from typing import Final

HIDDEN: Final = ".leveret"
"""The begin of each."""
UNDO_FOLDER: Final = f"{HIDDEN}.undo"
"""The folder of kept originals beside their place."""
LEFT_OVER_SECONDS: Final = 24 * 3600.0
"""The age from which on nobody can be waiting for a hidden file: a crashed worker left it."""
