"""The doctor's checks, one after the other: one that fails, or is silent, is a finding too."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from worker.core.errors import LeveretError
from worker.core.finding import Finding, NamedFinding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.core.finding import Check

CHECK_SECONDS: Final = 30.0


async def findings(checks: Iterable[tuple[str, Check]]) -> list[NamedFinding]:
    """Return what every check finds, in their order."""
    return [NamedFinding(name=name, **(await outcome(check)).model_dump()) for name, check in checks]


async def outcome(check: Check) -> Finding:
    """Return what one check finds, its failure and its silence included."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check()
    except TimeoutError:
        return Finding(
            status="error",
            fact=f"no answer within {CHECK_SECONDS:.0f} s",
            advice="check that it runs and can be reached",
        )
    except LeveretError as error:
        return Finding(status="error", fact=str(error))
