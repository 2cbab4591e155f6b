"""Notifications of the ends of jobs: in the database, and their sending."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.notification import Message, Notice, Notification, StoredNotification


class NotificationStore(Protocol):
    """Notifications, and the ends of jobs that they are still to be sent."""

    async def notifications(self) -> list[StoredNotification]:
        """Return all of them by name."""
        ...

    async def put_notification(self, name: str, notification: Notification) -> None:
        """Store or replace one; a new one is sent only what ends from now on."""
        ...

    async def delete_notification(self, name: str) -> bool:
        """Return whether there was one."""
        ...

    async def collect_notices(self, name: str, states: Sequence[str], limit: int) -> int:
        """Note jobs that ended in these states since the last look, each end once; return how many were new."""
        ...

    async def claim_notification(self, name: str, owner: str, lease_seconds: float) -> bool:
        """Return whether `owner` may send now: it is due, and nobody else has it."""
        ...

    async def waiting_notices(self, name: str, limit: int) -> tuple[list[Notice], dict[str, int]]:
        """Return the oldest ends that are not sent yet, and how many wait of each state."""
        ...

    async def notices_sent(self, name: str, notices: Sequence[Notice], next_seconds: float) -> None:
        """Note that these are sent, and when the next message may go out."""
        ...

    async def notices_failed(self, name: str, problem: str, next_seconds: float, give_up_seconds: float) -> None:
        """Note why nothing could be sent; what waits longer than `give_up_seconds` is given up."""
        ...

    async def forget_notices(self, older_than_seconds: float) -> int:
        """Delete what was sent, or given up, so long ago; return how many."""
        ...


class Sender(Protocol):
    """Sends a message."""

    async def __call__(self, notification: Notification, message: Message) -> None:
        """Return once the other side has it; a LeveretError says why not."""
        ...
