"""The policy: from an error to what happens to its job. The only place that decides it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from worker.core.attempt import Cancelled, Dead, Defer, Failure, Requeue, Retry
from worker.core.errors import (
    CannotServe,
    Infrastructure,
    Interrupted,
    JobCancelled,
    LeaseLost,
    Permanent,
    ToolFailed,
    ToolOutOfMemory,
    Transient,
    VerificationFailed,
)
from worker.core.redaction import redact
from worker.core.routing import DEFAULT_DELAYS

if TYPE_CHECKING:
    from worker.core.attempt import Attempt

MAX_MESSAGE_BYTES = 1024
_TWICE = " (twice in a row, so it was not tried again)"
_VARIABLE = re.compile(r" after \d+ s\b|\b0x[0-9a-f]+|(?<=\.)\d+(?=/)")
MAX_RETURNS = 50

Verdict: TypeAlias = Retry | Dead | Defer | Requeue | Cancelled


@dataclass(frozen=True, slots=True)
class Policy:
    """The retries of a job: how many, and after which delays.

    `delays` are seconds, one per charged failure that is forgiven; with three of them the fourth failure is
    the last. `max_crashes` attempts may end without a result before the job is dead. `max_returns` attempts of a round
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
        it can neither loop for ever nor kill a job at its first meeting with a sick host. A tool that failed twice
        in a row with the same words will say them a third time: nothing that it was given has changed.
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
            case ToolFailed(passing=False) | VerificationFailed() if _said_before(failure, attempt):
                return Dead(replace(failure, message=_with(failure.message, _TWICE)))
            case ToolOutOfMemory() if attempt.previous and attempt.previous.error_type == ToolOutOfMemory.__name__:
                return Dead(failure)
            case Transient() | _ if attempt.number <= len(self.delays):
                return Retry(self.delays[attempt.number - 1], failure, attempt.round)
            case _:
                return Dead(failure)


def _said_before(failure: Failure, attempt: Attempt) -> bool:
    """Return whether the attempt before this one failed with the same words."""
    before = attempt.previous
    return (
        before is not None
        and before.error_type == failure.error_type
        and _normalized(before.message) == _normalized(failure.message)
    )


def _normalized(message: str) -> str:
    """Return a message without what differs in every run: seconds, addresses, the attempt's own folder."""
    return _VARIABLE.sub("", message)


def _with(message: str, remark: str) -> str:
    return shortened(message, MAX_MESSAGE_BYTES - len(remark.encode())) + remark


def failure_of(error: BaseException, worker: str, attempt: int, secrets: tuple[str, ...] = ()) -> Failure:
    """Return `error` as people see it: one bounded line without secrets, and the name of its class."""
    text = " ".join(redact(str(error), secrets).split()) or type(error).__name__
    return Failure(shortened(text), type(error).__name__, worker, attempt)


def shortened(text: str, limit: int = MAX_MESSAGE_BYTES) -> str:
    """Return `text` in at most `limit` bytes of UTF-8, cut at a character."""
    raw = text.encode()
    return text if len(raw) <= limit else raw[: limit - 3].decode(errors="ignore") + "…"
