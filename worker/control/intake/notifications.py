"""Notifications: stored, shown, tried, and sent by whichever server has the turn."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog
from pydantic import ValidationError

from worker.control.errors import NotFound
from worker.core.errors import InvalidJob, LeveretError
from worker.core.hints import nearest
from worker.core.message.wire import problems_of
from worker.core.names import require_name
from worker.core.notification import MAX_DIGEST, MAX_JOBS, Message, Notice, Notification

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.control.resources import Control
    from worker.core.notification import StoredNotification
    from worker.core.ports import Repository
    from worker.core.ports.notifications import Sender

ROUND_SECONDS: Final = 2.0
LEASE_SECONDS: Final = 120.0
COLLECTED: Final = 500
FIRST_RETRY: Final = 30.0
LONGEST_RETRY: Final = 3600.0
GIVE_UP_SECONDS: Final = 86400.0
FORGET_SECONDS: Final = 7 * 86400.0

log = structlog.get_logger(__name__)


async def list_notifications(control: Control) -> list[StoredNotification]:
    """Return the notifications by name."""
    return await control.stores.notifications()


async def get_notification(control: Control, name: str) -> StoredNotification:
    """Return one notification; NotFound names the nearest."""
    found = await control.stores.notifications()
    for one in found:
        if one.name == name:
            return one
    raise NotFound(f"there is no notification {name[:100]!r}{nearest(name, [one.name for one in found])}")


def checked_notification(name: str, document: Any, check: Callable[[Notification], None]) -> Notification:
    """Return the notification that a document says; InvalidJob with every problem."""
    require_name(name)
    try:
        notification = Notification.model_validate(document)
    except ValidationError as error:
        raise InvalidJob(problems_of(error, "", Notification)) from error
    check(notification)
    return notification


async def put_notification(
    control: Control, name: str, document: Any, check: Callable[[Notification], None]
) -> Notification:
    """Store or replace one. Where `…` stands for a secret, the stored one stays."""
    if isinstance(document, dict):
        known = {one.name: one.document for one in await control.stores.notifications()}.get(name, {})
        kept = {
            key: known[key] for key in ("url", "secret") if str(document.get(key, "")).endswith("…") and key in known
        }
        document = document | kept
    notification = checked_notification(name, document, check)
    await control.stores.put_notification(name, notification)
    return notification


async def delete_notification(control: Control, name: str) -> None:
    """Delete one; NotFound when there is none."""
    if not await control.stores.delete_notification(name):
        raise NotFound(f"there is no notification {name[:100]!r}")


async def try_notification(control: Control, name: str, sender: Sender) -> None:
    """Send a sample now; the error says why it did not arrive."""
    stored = await get_notification(control, name)
    notice = Notice(
        job_id="sample",
        epoch=0,
        state=stored.notification.states[0],
        title="A sample, sent by hand",
        ended_at=datetime.now(UTC),
    )
    message = Message(notification=name, notices=(notice,), counts={notice.state: 1})
    await sender(stored.notification, message)


@dataclass(slots=True)
class Notifier:
    """Sends what is due, again and again. Several may do so at once: the database gives each notification to one."""

    stores: Repository
    sender: Sender
    owner: str

    async def run(self) -> None:
        """Go on for ever; what fails is tried at the next time."""
        rounds = 0
        while True:
            try:
                await self.round()
                if rounds % 1000 == 0:
                    await self.stores.forget_notices(FORGET_SECONDS)
                rounds += 1
            except LeveretError as error:
                log.warning("notifications_postponed", error=str(error))
            await asyncio.sleep(ROUND_SECONDS)

    async def round(self) -> int:
        """Return how many messages were sent."""
        sent = 0
        stored = await self.stores.notifications()
        turns = [self._turn(one) for one in stored if one.notification.enabled]
        # Side by side: one address that does not answer delays no other.
        for result in await asyncio.gather(*turns, return_exceptions=True):
            if isinstance(result, LeveretError):
                log.warning("notification_postponed", error=str(result))
            elif isinstance(result, BaseException):
                raise result
            else:
                sent += result
        return sent

    async def _turn(self, stored: StoredNotification) -> int:
        notification = stored.notification
        await self.stores.collect_notices(stored.name, notification.states, COLLECTED)
        most = MAX_JOBS if notification.is_webhook else MAX_DIGEST
        notices, _ = await self.stores.waiting_notices(stored.name, 1)
        if not notices or not await self.stores.claim_notification(stored.name, self.owner, LEASE_SECONDS):
            return 0
        # Read again: whoever had it before may have sent them.
        notices, counts = await self.stores.waiting_notices(stored.name, most)
        if not notices:
            await self.stores.notices_sent(stored.name, [], 0.0)
            return 0
        message = Message(notification=stored.name, notices=tuple(notices), counts=_of(notices, counts))
        try:
            await self.sender(notification, message)
        except LeveretError as error:
            delay = min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(stored.failures, 10))
            await self.stores.notices_failed(stored.name, str(error), delay, GIVE_UP_SECONDS)
            log.warning("notification_failed", name=stored.name, error=str(error), again_in=delay)
            return 0
        # A webhook's messages are bounded, and it is sent every end: the next one follows at once.
        more = notification.is_webhook and sum(counts.values()) > len(notices)
        await self.stores.notices_sent(stored.name, notices, 0.0 if more else notification.digest_seconds)
        return 1


def _of(notices: list[Notice], counts: dict[str, int]) -> dict[str, int]:
    """Return the counts of a message that names all that wait, else of those that it names."""
    if sum(counts.values()) <= len(notices):
        return counts
    found: dict[str, int] = {}
    for one in notices:
        found[one.state] = found.get(one.state, 0) + 1
    return found
