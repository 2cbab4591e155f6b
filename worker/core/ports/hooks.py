"""Hooks and their calls, in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from worker.core.hook import Hook, HookCall, StoredHook


class HookStore(Protocol):
    """Hooks, and the genuine calls that came."""

    async def hooks(self) -> list[StoredHook]:
        """Return all of them by name."""
        ...

    async def hook(self, name: str) -> StoredHook | None:
        """Return one."""
        ...

    async def put_hook(self, name: str, hook: Hook) -> None:
        """Store or replace one."""
        ...

    async def delete_hook(self, name: str) -> bool:
        """Return whether there was one; its calls are forgotten."""
        ...

    async def note_call(self, call: HookCall) -> None:
        """Note a call; one that is known keeps when it came first, and what it made then."""
        ...

    async def hook_calls(self, name: str, limit: int, subject: str | None = None) -> list[HookCall]:
        """Return a hook's calls, about one subject where that is given, the newest first."""
        ...

    async def forget_calls(self, older_than_seconds: float) -> int:
        """Delete calls that came so long ago; return how many."""
        ...
