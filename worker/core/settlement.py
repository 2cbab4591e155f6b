"""The settlement of one delivery: the value that the executor decides on, and that everybody after it reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.core.routing import DEFAULT_PRIORITY

if TYPE_CHECKING:
    from worker.core.attempt import Outcome


@dataclass(frozen=True, slots=True)
class Settlement:
    """The outcome of a delivery, and under which id and route a copy of it goes on.

    `outcome` has no default: an outcome that nobody decided must not acknowledge unfinished work. `error` is what a
    failed attempt ended with; `ended` says that this delivery brought its job to its end, `callback_url` where the
    publisher wants its record then. `waited` is the seconds before the first attempt, where they are known.
    `adoption` is the
    id that was proposed for a message that came without one, where its copy brings it one.
    """

    outcome: Outcome
    job_id: str | None = None
    lane: str = ""
    priority: str = DEFAULT_PRIORITY
    modules: tuple[str, ...] = ()
    error: BaseException | None = None
    ended: bool = False
    waited: float | None = None
    callback_url: str = field(default="", repr=False)
    adoption: str = ""
