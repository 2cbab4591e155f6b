"""Locks of files that several processes of a host use; each dies with its process."""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LOCK: Final = ".lock"
_LOOK_SECONDS: Final = 0.2


@asynccontextmanager
async def held(path: Path) -> AsyncIterator[None]:
    """Hold the lock of a file, whose folder is made if need be."""
    await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
    descriptor = os.open(path.with_suffix(LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not take(descriptor):  # noqa: ASYNC110 - another process holds it
            await asyncio.sleep(_LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Return whether somebody holds the lock of a file now."""
    try:
        descriptor = os.open(path.with_suffix(LOCK), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not take(descriptor)
    finally:
        os.close(descriptor)


def take(descriptor: int) -> bool:
    """Return whether the lock of an open file or folder is ours now; somebody else may hold it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
