"""What a copy takes over of the message in whose place it comes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from worker.adapters.rabbitmq.delivery import RabbitDelivery
from worker.core.attempt import Defer, Settlement

HOSTILE: dict[str, Any] = {
    "reply_to": "amq.rabbitmq.reply-to",
    "user_id": "somebody",
    "expiration": 1,
    "priority": 255,
    "headers": {"CC": ["cpu.high"], "BCC": ["cpu.low"], "x-delay": 1, "x-acquired-count": 9, "x-opt-delivery-time": 1},
}


def test_a_copy_has_nothing_for_which_the_broker_would_refuse_it_or_send_it_elsewhere() -> None:
    original = SimpleNamespace(
        **HOSTILE, body=b"{}", routing_key="cpu.normal", redelivered=False, type=None,
        content_type=None, content_encoding=None, correlation_id="c", app_id="a", timestamp=None, message_id="m",
    )  # fmt: skip
    nowhere: Any = None
    message: Any = original
    delivery = RabbitDelivery(nowhere, nowhere, message, "media.cpu.normal", max_attempts=4, defer_seconds=5)
    copy = delivery._copy(Settlement(Defer("busy"), "m", "cpu", "normal"))
    assert (copy.reply_to, copy.user_id, copy.expiration, copy.priority) == (None, None, None, 0)
    assert set(copy.headers) == {"x-first-queued-at", "x-max-attempts", "x-lane"}
    assert (copy.correlation_id, copy.app_id, copy.message_id) == ("c", "a", "m")
