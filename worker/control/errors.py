"""Why a use case was not carried out."""

from __future__ import annotations

from worker.core.errors import LeveretError


class Refused(LeveretError):
    """What was asked for cannot be done; the message says why, and what can."""


class NotFound(Refused):
    """Nothing has the name that was given; the message has the nearest that there is."""


class Conflict(Refused):
    """The state of the thing does not allow it, or its name means several."""
