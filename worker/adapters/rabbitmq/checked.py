"""Checks of a broker before it is used: whether its topology is ours, what this user may do, whose fleet it serves."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from pika.exceptions import AMQPError, ChannelClosedByBroker, ChannelError

from worker.adapters.rabbitmq.blocking import BlockingBroker
from worker.core.brokers import OTHER_DATABASE
from worker.core.errors import Misconfigured
from worker.core.routing import DEAD_QUEUE, EVENTS, FLEET
from worker.core.topology import fleet_mark

if TYPE_CHECKING:
    from collections.abc import Callable

    from pika.adapters.blocking_connection import BlockingChannel

    from worker.core.topology import Exchange, Queue

ACCESS_REFUSED: Final = 403
NOT_FOUND: Final = 404
PRECONDITION_FAILED: Final = 406


class CheckedBroker(BlockingBroker):
    """A connection that compares the broker with what a fleet needs, and changes nothing."""

    def differences(self, queues: tuple[Queue, ...]) -> tuple[str, ...]:
        """Return one line for each of `queues` that is missing or has other arguments than these.

        Asked passively first: the real declaration, which compares the arguments, would make a missing one.
        A refusal closes its channel, so each queue has one of its own.
        """
        return tuple(line for queue in queues if (line := self._difference(queue)))

    def refusals(self, exchanges: tuple[Exchange, ...]) -> tuple[str, ...]:
        """Return what this user may not do: publish to one of `exchanges`, read dead letters.

        Asked without changing anything: to take away a binding that there is not needs the right to write to one
        exchange and to read from the other. Job queues are not read from, for on 3.x each look counts against the
        delivery limit of a message.
        """
        asked: dict[str, Callable[[BlockingChannel], object]] = {
            f"publish to {one.name}": partial(_unbind, exchange=one.name) for one in exchanges
        }
        asked[f"read {DEAD_QUEUE}"] = _look
        return tuple(deed for deed, attempt in asked.items() if self._refused(attempt))

    def require_fleet(self, identity: str) -> None:
        """Return if the broker was provisioned for the database `identity`, or for none; Misconfigured otherwise."""
        for passive in (True, False):
            try:
                with self._errors():
                    channel = self._open_channel()
                try:
                    channel.exchange_declare(
                        FLEET, "fanout", passive=passive, durable=True, arguments=fleet_mark(identity)
                    )
                except ChannelClosedByBroker as error:
                    if error.reply_code == PRECONDITION_FAILED:
                        raise Misconfigured(f"the broker at {self._address} {OTHER_DATABASE}") from error
                    # It was marked for nobody, or this user may not ask.
                    return
            except (AMQPError, ChannelError, OSError) as error:
                raise self._translated(error) from error
            channel.close()

    def require_taking(self) -> None:
        """Return if the broker takes a message now: an event that nobody listens to."""
        with self._errors():
            self._open.basic_publish(EVENTS, "doctor.asked", b"{}")

    def _refused(self, attempt: Callable[[BlockingChannel], object]) -> bool:
        with self._errors():
            channel = self._open_channel()
            try:
                attempt(channel)
            except ChannelClosedByBroker as error:
                if error.reply_code == ACCESS_REFUSED:
                    return True
                raise
            channel.close()
        return False

    def _difference(self, queue: Queue) -> str:
        with self._errors():
            channel = self._open_channel()
            try:
                channel.queue_declare(queue.name, passive=True)
                channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))
            except ChannelClosedByBroker as error:
                if error.reply_code == NOT_FOUND:
                    return f"the queue {queue.name} is missing"
                if error.reply_code == PRECONDITION_FAILED:
                    return f"the queue {queue.name} has other arguments: {error.reply_text}"
                raise
            channel.close()
        return ""


def _unbind(channel: BlockingChannel, exchange: str) -> None:
    channel.exchange_unbind(exchange, EVENTS, "doctor")


def _look(channel: BlockingChannel) -> None:
    method, _, _ = channel.basic_get(DEAD_QUEUE, auto_ack=False)
    if method is not None:
        channel.basic_nack(method.delivery_tag, requeue=True)
