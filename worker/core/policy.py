"""What an error means for its job. The only place that decides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from worker.core.attempt import Cancelled, Dead, Defer, Failure, Requeue, Retry
from worker.core.errors import (
    CannotServe,
    Infrastructure,
    Interrupted,
    JobCancelled,
    LeaseLost,
    Permanent,
    ToolOutOfMemory,
    Transient,
)
from worker.core.redaction import redact
from worker.core.routing import DEFAULT_DELAYS

if TYPE_CHECKING:
    from worker.core.attempt import Attempt

MAX_MESSAGE_BYTES = 1024
MAX_RETURNS = 50

Verdict: TypeAlias = Retry | Dead | Defer | Requeue | Cancelled


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how late a job is tried again.

    `delays` are seconds, one per charged failure that is forgiven; with three of them the fourth failure is
    the last. `max_crashes` attempts may end without a word before the job is dead. `max_returns` attempts of a round
    may be given back without a charge; every further one is charged, whatever it ended with.
    """

    delays: tuple[float, ...] = DEFAULT_DELAYS
    max_crashes: int = 3
    max_returns: int = MAX_RETURNS

    @property
    def max_attempts(self) -> int:
        """Return how many charged attempts a round has."""
        return len(self.delays) + 1

    def verdict(self, error: BaseException, attempt: Attempt) -> Verdict:
        """Return how the delivery of `attempt`, which ended with `error`, is settled.

        An error that is not ours is a fault in a task or in us: it is counted like a transient one, so that
        it can neither loop for ever nor kill a job at its first meeting with a sick host.
        """
        failure = failure_of(error, attempt.worker, attempt.number, attempt.job.secrets)
        match error:
            case JobCancelled():
                return Cancelled()
            case LeaseLost():
                return Defer(failure.message)
            # a lost lease is charged by whoever claims next, a lane that cannot serve has a limit of its own
            case CannotServe():
                return Defer(failure.message)
            case Interrupted() if attempt.returns < self.max_returns:
                return Requeue()
            case Infrastructure() if attempt.returns < self.max_returns:
                return Defer(failure.message)
            case Permanent():
                return Dead(failure)
            case ToolOutOfMemory() if attempt.last_error == ToolOutOfMemory.__name__:
                return Dead(failure)
            case Transient() | _ if attempt.number <= len(self.delays):
                return Retry(self.delays[attempt.number - 1], failure, attempt.round)
            case _:
                return Dead(failure)


def failure_of(error: BaseException, worker: str, attempt: int, secrets: tuple[str, ...] = ()) -> Failure:
    """Return `error` as people see it: one bounded line without secrets, and the name of its class."""
    text = " ".join(redact(str(error), secrets).split()) or type(error).__name__
    return Failure(shortened(text), type(error).__name__, worker, attempt)


def shortened(text: str, limit: int = MAX_MESSAGE_BYTES) -> str:
    """Return `text` in at most `limit` bytes of UTF-8, cut at a character."""
    raw = text.encode()
    return text if len(raw) <= limit else raw[: limit - 3].decode(errors="ignore") + "…"
