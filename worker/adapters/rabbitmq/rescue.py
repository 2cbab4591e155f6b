"""Messages that the broker cannot deliver over AMQP 0-9-1, taken out over AMQP 1.0 and replaced by a readable copy.

RabbitMQ 4 stores what is published over AMQP 1.0 (and MQTT) as it is, and translates it when it delivers. A content
type of 300 characters fits no short string of AMQP 0-9-1: the broker then ends the connection of whoever would get
the message (`content_properties_shortstr_overflow`), the message comes back, and the next connection ends too. In a
job queue that goes on until its delivery limit, in `media.dlq` and `media.deaths` for ever.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from worker.adapters.rabbitmq.amqp10 import CUT, Node, Receiver, Section, sections
from worker.core.routing import HEADER_DEATH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pika.connection import Parameters

    from worker.adapters.rabbitmq.amqp10 import Value

MOST_LOOKED_AT: Final = 500
"""Messages of one queue that are looked at, beyond those that were read before the one that could not be."""
LONGEST: Final = 255
"""Bytes of a short string."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Readable:
    """The rest of a message: its bytes, its id where it is a text, and why the broker moved it, where it did."""

    body: bytes
    message_id: str | None = None
    death: str | None = None

    @property
    def headers(self) -> dict[str, Any]:
        """Return the headers of the copy: the reason of a death, as the broker would have written it."""
        return {HEADER_DEATH: [{"reason": self.death, "count": 1}]} if self.death else {}


def rescue(node: Parameters, queue: str, most: int, publish: Callable[[Readable], None]) -> int:
    """Replace what cannot be delivered among the first `most` messages of `queue`; return how many those were.

    `publish` puts the copy into the queue, confirmed; then the original is deleted. Refused and OSError where the
    broker lets nobody in over AMQP 1.0.
    """
    count = 0
    with Receiver(_node(node), queue, most) as receiver:
        for held in receiver:
            copy = readable(held.message)
            if copy is None:
                receiver.give_back(held)
                continue
            publish(copy)
            receiver.accept(held)
            count += 1
            log.warning("message_made_readable", queue=queue, message_id=copy.message_id, bytes=len(copy.body))
    return count


def readable(message: bytes) -> Readable | None:
    """Return what is kept of an AMQP 1.0 message that fits no AMQP 0-9-1; None for one that does, as ours all do."""
    body, own, death, fits = bytearray(), None, None, True
    with contextlib.suppress(*CUT):
        for code, value in sections(message):
            items = value.items()
            match code:
                case Section.PROPERTIES:
                    own = items[0].text if items else None
                    fits = fits and _is_short(items)
                case Section.ANNOTATIONS | Section.APPLICATION:
                    fits = fits and _is_short(items[::2])
                    death = death or _reason(items)
                case Section.DATA | Section.SEQUENCE | Section.VALUE:
                    body += value.raw
                case _:
                    pass
    if fits:
        return None
    return Readable(bytes(body), own if own and len(own.encode()) <= LONGEST else None, death)


def _is_short(items: Sequence[Value]) -> bool:
    return all(len(item.raw) <= LONGEST for item in items)


def _reason(items: Sequence[Value]) -> str | None:
    """Return why the broker moved a message last, as it says among the annotations."""
    said = {name.text: value.text for name, value in zip(items[::2], items[1::2], strict=False)}
    return said.get("x-last-death-reason")


def _node(parameters: Parameters) -> Node:
    """Return the node that pika is connected to, as AMQP 1.0 reaches it: at the same port."""
    login, tls = parameters.credentials, parameters.ssl_options
    return Node(
        parameters.host,
        parameters.port,
        str(getattr(login, "username", "")),
        str(getattr(login, "password", "")),
        parameters.virtual_host,
        tls.context if tls is not None else None,
    )
