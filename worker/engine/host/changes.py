"""Notices that this host is another one than was proved: a tool or a driver came, went, or was replaced."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOOK_SECONDS: Final = 10.0

log = structlog.get_logger(__name__)


class HostWatch:
    """Compares what `look` returns with what was `proved`, and calls `changed` once when it is another.

    `look` costs little and starts no program; it returns None while it cannot be said what this host is.
    """

    def __init__(
        self,
        proved: Mapping[str, Any],
        look: Callable[[], Mapping[str, Any] | None],
        changed: Callable[[], None],
        seconds: float = LOOK_SECONDS,
    ) -> None:
        self._proved = proved
        self._look = look
        self._changed = changed
        self._seconds = seconds

    async def run(self) -> None:
        """Return after `changed` was called."""
        before: Mapping[str, Any] | None = None
        while True:
            await asyncio.sleep(self._seconds)
            found = await asyncio.to_thread(self._look)
            # A package manager replaces files one after the other: a change counts once two looks agree.
            if found is not None and found != self._proved and found == before:
                log.info("host_changed", what=sorted(key for key in found if found[key] != self._proved.get(key)))
                self._changed()
                return
            before = found
