"""What a reader of the NAS sees while a campaign goes on: which sizes each file has ever had under its name."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import defaultdict
from pathlib import Path
from typing import Self

PAUSE_SECONDS = 0.25


class PublishedFiles:
    """Looks at every file below `folder` again and again; `sizes` are those it had, by its URI."""

    def __init__(self, folder: Path) -> None:
        self.sizes: defaultdict[str, set[int]] = defaultdict(set)
        self._folder = folder
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._look_on())
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _look_on(self) -> None:
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(PAUSE_SECONDS)

    def look(self) -> None:
        """Note what stands there now; what is hidden is nobody's to read."""
        for folder, _, names in os.walk(self._folder):
            for name in names:
                path = Path(folder, name)
                # It may be replaced or moved away between the two looks.
                with contextlib.suppress(OSError):
                    if ".leveret" not in str(path):
                        self.sizes[f"file://{path}"].add(path.stat().st_size)
