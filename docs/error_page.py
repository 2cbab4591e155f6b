"""The page of the errors, from their tree and the policy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from model_tables import table

from worker.core import errors, routing
from worker.core.attempt import Attempt, Cancelled, Dead, Defer, Requeue, Retry
from worker.core.job import Job
from worker.core.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator


def sample_attempt(number: int = 1) -> Attempt:
    """Return some attempt."""
    return Attempt(Job("9b0c", "A film", (), "canonical"), 1, number, 1, "render-1", 30.0, datetime.now(UTC))


def errors_page() -> list[str]:
    """Return the page of the errors and of what follows from them."""
    tree = (errors.__doc__ or "").partition("\n\n")[2].rstrip()
    rows = [
        (f"`{kind.__name__}`", f"`{kind.__bases__[0].__name__}`", kind.__doc__ or "", consequence(kind))
        for kind in leaves(errors.LeveretError)
    ]
    return [
        "# Errors",
        "",
        "The class of an error says what happened; its branch says whether trying again can help. Any other exception",
        "is a fault in a task or in Leveret, and counts as a transient error.",
        "",
        "```text",
        *tree.splitlines(),
        "```",
        "",
        "What happens to a job that fails with each of them, with the default `WORKER_RETRY_DELAYS`:",
        "",
        *table(("Error", "Branch", "Meaning", "The job"), rows),
    ]


def leaves(kind: type[errors.LeveretError]) -> Iterator[type[errors.LeveretError]]:
    """Yield the classes that are raised: those without subclasses, and those below a branch, in their order."""
    below = [one for one in kind.__subclasses__() if one.__module__ == errors.__name__]
    if not below or (kind is not errors.LeveretError and errors.LeveretError not in kind.__bases__):
        yield kind
    for one in below:
        yield from leaves(one)


def consequence(kind: type[errors.LeveretError]) -> str:
    """Return what the policy makes of an error, in words."""
    policy, error = Policy(), kind(()) if kind is errors.InvalidJob else kind("")
    match policy.verdict(error, sample_attempt()):
        case Retry():
            delays = ", ".join(f"{delay:g}" for delay in policy.delays)
            return f"is tried again after {delays} s; failure {policy.max_attempts} of a round is its last"
        case Dead():
            return "is dead at once"
        case Defer():
            return f"waits {routing.DEFER_SECONDS:g} s in `{routing.DEFER}`; charged to nobody"
        case Requeue():
            return "goes back to its queue; charged to nobody"
        case Cancelled():
            return "is cancelled"
