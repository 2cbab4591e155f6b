"""Messages that the database holds until the broker has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from worker.core.attempt import StateChange
from worker.core.errors import LeveretError

if TYPE_CHECKING:
    from worker.core.ports.parts import OutboxMessage
    from worker.engine.resources import Resources

_AT_ONCE: Final = 100
LEFT_SECONDS: Final = 10.0
"""The age from which a message counts as left behind by whoever wrote it."""

log = structlog.get_logger(__name__)


async def publish_outbox(resources: Resources, older_than_seconds: float = 0.0) -> int:
    """Return how many messages were published, each confirmed before the database forgets it.

    Two workers may publish the same: a claim decides. What cannot be published now stays for the next who asks.
    """
    if resources.publisher is None:
        return 0
    count = 0
    try:
        while messages := await resources.repository.outbox(older_than_seconds, _AT_ONCE):
            for message in messages:
                await resources.publisher.publish_job(
                    message.body, message.job_id, message.lane, message.priority, dialect=message.dialect
                )
            await resources.repository.published([message.number for message in messages])
            count += len(messages)
            for message in messages:
                await _report(resources, message)
    except LeveretError as error:
        log.warning("outbox_postponed", error=str(error))
    return count


async def _report(resources: Resources, message: OutboxMessage) -> None:
    error = (message.error, message.error_type) if message.state == "dead" else (None, None)
    await resources.on_state(StateChange(message.job_id, message.title, message.state, None, None, None, *error))
