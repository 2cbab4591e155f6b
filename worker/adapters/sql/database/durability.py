"""What a power cut may take back."""

from __future__ import annotations

from enum import Enum, auto


class Durability(Enum):
    """What a power cut may take back of a transaction: it writes nothing, may lose its commit, or never does."""

    NONE = auto()
    RELAXED = auto()
    FULL = auto()
