"""The durability of a transaction after a power cut."""

from __future__ import annotations

from enum import Enum, auto


class Durability(Enum):
    """The durability of a transaction after a power cut: it writes nothing, may lose its commit, or never does."""

    NONE = auto()
    RELAXED = auto()
    FULL = auto()
