"""Why a use case was not carried out."""

from __future__ import annotations

from worker.core.errors import LeveretError


class Refused(LeveretError):
    """The request cannot be carried out; the message says why, and what can be done instead."""


class NotFound(Refused):
    """Nothing has the name that was given; the message has the nearest that there is."""


class Conflict(Refused):
    """The state of the thing does not allow it, or its name means several."""
