"""Messages go out: signed JSON to a webhook, or words for people by Apprise."""

from __future__ import annotations

import asyncio
import json
import time
import warnings
from functools import cache
from typing import TYPE_CHECKING, Final

from worker.core.errors import InvalidJob, Problem, StorageUnavailable
from worker.core.signature import HEADER, signature

if TYPE_CHECKING:
    from types import ModuleType

    from worker.core.notification import Message, Notification

SECONDS: Final = 30.0
"""The seconds that the receiver has; a lease of the sender must be longer."""


class NotificationSender:
    """`worker.core.ports.notifications.Sender`."""

    def __init__(self, *, allow_private: bool = False) -> None:
        self._allow_private = allow_private

    async def __call__(self, notification: Notification, message: Message) -> None:
        """Return once the other side has it; StorageUnavailable says why not, without the address's secrets."""
        if notification.is_webhook:
            await self._post(notification, message)
            return
        try:
            async with asyncio.timeout(SECONDS):
                await asyncio.to_thread(_notify, notification.url, message)
        except TimeoutError as error:
            raise StorageUnavailable(f"{_scheme(notification.url)}://… did not answer in {SECONDS:.0f} s") from error

    async def _post(self, notification: Notification, message: Message) -> None:
        # httpx takes 4 MB: only who has a webhook pays for it.
        from worker.adapters.storage.web.posting import post_json  # noqa: PLC0415

        at = int(time.time())
        document = json.dumps(message.document(at))
        headers = {
            HEADER: signature(notification.secret, at, document.encode()),
            "X-Leveret-Delivery": message.delivery,
        }
        # Once: the database knows what is not sent yet, and when it is tried again.
        await post_json(notification.url, document, allow_private=self._allow_private, attempts=1, headers=headers)


def check_address(notification: Notification) -> None:
    """Return if something could be sent to this address; InvalidJob otherwise."""
    if notification.is_webhook:
        return
    apprise = _apprise()
    if apprise.Apprise.instantiate(notification.url, suppress_exceptions=True) is None:
        scheme = _scheme(notification.url)
        raise InvalidJob(
            [Problem("url", f"{scheme}://… is no address that Apprise knows; its documentation lists them")]
        )


def _notify(url: str, message: Message) -> None:
    apprise = _apprise()
    asset = apprise.AppriseAsset(app_id="Leveret", app_desc="Leveret", async_mode=False, secure_logging=True)
    target = apprise.Apprise(asset=asset)
    if not target.add(url):
        raise StorageUnavailable(f"{_scheme(url)}://… is no address that Apprise knows")
    kind = apprise.NotifyType.FAILURE if message.counts.get("dead") else apprise.NotifyType.INFO
    sent = target.notify(
        body=message.text, title=message.title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT
    )
    if not sent:
        raise StorageUnavailable(f"{_scheme(url)}://… did not take the message")


@cache
def _apprise() -> ModuleType:
    """Return Apprise with all its services, a second's work that only notifications need."""
    with warnings.catch_warnings():
        # Its mail service asks for modules that Python 3.13 does without.
        warnings.simplefilter("ignore", DeprecationWarning)
        import apprise  # noqa: PLC0415 - as above

        apprise.Apprise.instantiate("json://localhost/", suppress_exceptions=True)
    return apprise


def _scheme(url: str) -> str:
    return url.partition("://")[0][:20]
