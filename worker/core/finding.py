"""The findings of `doctor`, and the checks that make them."""

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
    """A finding of the doctor, and its subject."""

    name: str


Check: TypeAlias = Callable[[], Awaitable[Finding]]
"""Finds out; a LeveretError that it raises counts as an error with that message."""
