"""Messages that the broker cannot deliver over AMQP 0-9-1, taken out over AMQP 1.0 and replaced by a readable copy.

RabbitMQ 4 stores what is published over AMQP 1.0 (and MQTT) as it is, and translates it when it delivers. A content
type of 300 characters fits no short string of AMQP 0-9-1, and for arrays, footers and more its translation has no
clause: it then ends the connection of whoever would get the message (541). The message comes back, and the next
connection ends too: in a job queue until its delivery limit, in `media.dlq` and `media.deaths` for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from worker.adapters.rabbitmq.amqp10 import CUT, Node, Receiver, Section, sections
from worker.adapters.rabbitmq.frames import READ
from worker.core.routing import DEATH_HEADERS, HEADER_DEATH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from pika.connection import Parameters

    from worker.adapters.rabbitmq.amqp10 import Value

MAX_LOOKED_AT: Final = 500
"""Messages of one queue that are looked at, beyond those that were read before the one that could not be."""
LONGEST: Final = 255
"""Bytes of a short string."""

_TEXTS: Final = frozenset({0xA1, 0xA3, 0xB1, 0xB3})
_PLAIN: Final = _TEXTS | {
    *range(0x40, 0x45), 0x50, *range(0x52, 0x57), 0x60, 0x61, 0x70, 0x71, *range(0x80, 0x84),
}  # fmt: skip
"""The constructors of nothing, booleans, numbers, times and texts, which every version translates."""
_KEPT: Final = READ - frozenset(DEATH_HEADERS)
_LAST_REASON: Final = "x-last-death-reason"
_DEATHS: Final = "x-opt-deaths"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Suspect:
    """The message that a connection was lost to: its place among the first of its queue, counted from 0.

    It may be another one, where the message has not come back yet or somebody else took some: what looks plain stays,
    unless `certain`, after it happened again. With `anywhere` whatever does not look plain is replaced.
    """

    place: int = 0
    certain: bool = False
    anywhere: bool = False

    def is_at(self, place: int, found: Foreign) -> bool:
        """Return whether it is the message at `place`, or may be."""
        if place == self.place:
            return self.certain or found.has_deaths or not found.is_plain
        return self.anywhere and not found.is_plain


@dataclass(slots=True)
class Foreign:
    """A message as it comes over AMQP 1.0: its bytes, its id where it is a text, and headers that are ours."""

    body: bytes = b""
    message_id: str | None = None
    headers: dict[str, Any] = field(default_factory=dict)
    fits: bool = True
    """True if every name and text fits a short string."""
    is_plain: bool = True
    """True if it holds nothing that a version of the broker may have no translation for, deaths aside."""
    has_deaths: bool = False
    """True if it has a list of deaths: the broker writes it, and a publisher may."""

    def take(self, code: int, value: Value) -> None:
        """Take a section."""
        items = value.items()
        match code:
            case Section.PROPERTIES:
                own = items[0].text if items else None
                self.message_id = own if own and len(own.encode()) <= LONGEST else None
                self.fits = self.fits and _is_short(items)
                self.is_plain = self.is_plain and _are_plain(items)
            case Section.ANNOTATIONS | Section.APPLICATION:
                self.fits = self.fits and _is_short(items[::2])
                self._keep(dict(zip([name.text for name in items[::2]], items[1::2], strict=False)), items[::2])
            case Section.DATA | Section.SEQUENCE | Section.VALUE:
                self.body += value.raw
                self.is_plain = self.is_plain and code == Section.DATA
            case _:
                self.is_plain = self.is_plain and code == Section.HEADER

    def _keep(self, said: dict[str | None, Value], names: Sequence[Value]) -> None:
        self.has_deaths = said.pop(_DEATHS, None) is not None or self.has_deaths
        self.is_plain = self.is_plain and _are_plain(names) and _are_plain(said.values())
        self.headers |= {name: value.text or value.number for name, value in said.items() if name in _KEPT}
        if reason := said.get(_LAST_REASON):
            self.headers[HEADER_DEATH] = [{"reason": reason.text or "", "count": 1}]


def rescue(node: Parameters, queue: str, most: int, suspect: Suspect, publish: Callable[[Foreign], None]) -> int:
    """Replace what cannot be delivered among the first `most` messages of `queue`; return how many those were.

    `publish` puts the copy into the queue, confirmed; then the original is deleted. Refused and OSError where the
    broker lets nobody in over AMQP 1.0.
    """
    count = 0
    with Receiver(_node(node), queue, most) as receiver:
        for place, held in enumerate(receiver):
            found = foreign(held.message)
            if found.fits and not suspect.is_at(place, found):
                receiver.give_back(held)
                continue
            publish(found)
            receiver.accept(held)
            count += 1
            log.warning("message_made_readable", queue=queue, message_id=found.message_id, bytes=len(found.body))
    return count


def foreign(message: bytes) -> Foreign:
    """Return what a message over AMQP 1.0 holds, as far as it can be read."""
    found = Foreign()
    try:
        for code, value in sections(message):
            found.take(code, value)
    except CUT:
        found.is_plain = False
    return found


def _is_short(items: Sequence[Value]) -> bool:
    return all(len(item.raw) <= LONGEST for item in items)


def _are_plain(items: Iterable[Value]) -> bool:
    return all(item.kind in _PLAIN for item in items)


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
