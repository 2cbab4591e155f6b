"""Work beside an attempt that begins only when the attempt takes a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Watch:
    """A task that begins in `seconds`, unless it is cancelled before: most watches of a short job never begin."""

    def __init__(self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        self._work = work
        self._name = name
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._work(), name=self._name)

    def cancel(self) -> None:
        """End the work, wherever it is."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    async def stop(self) -> None:
        """Return when the work is over, cancelled if need be."""
        self.cancel()
        if self._task is not None:
            await asyncio.wait({self._task})
