"""What `doctor` found out about one thing, and the check that finds it out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

Health: TypeAlias = Literal["ok", "warning", "error"]


class Finding(BaseModel):
    """One line of the doctor's: `fact` is what is, `advice` what to do about it (nothing where it is well)."""

    model_config = ConfigDict(frozen=True)

    status: Health
    fact: str
    advice: str = ""


class NamedFinding(Finding):
    """What the doctor found out, and about what."""

    name: str


Check: TypeAlias = Callable[[], Awaitable[Finding]]
"""Finds out; a LeveretError that it raises counts as an error with that message."""
