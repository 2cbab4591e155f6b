"""The resources that the attempts of a worker share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from worker.core.ports import Unobserved
from worker.engine.attempt.workspace import MAX_OUTPUTS
from worker.media.capabilities import Capabilities

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from worker.core.attempt import Attempt, Progress, StateChange
    from worker.core.ports import JobPublisher, Observer, Repository, Runner
    from worker.engine.host.scratch import Scratch
    from worker.engine.storages import Storages
    from worker.registry import Registry

OnStep: TypeAlias = "Callable[[str], Awaitable[None]]"
"""Awaited at each step of a job's life."""


async def no_step(step: str) -> None:
    """Do nothing: only fault tests have something to do at a step."""
    del step


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """All that attempts work with; one for the life of a worker.

    Without a `publisher` no job is divided. Parts are under `parts_url`, by default beside the job's outputs;
    a worker that is silent for `offline_seconds` makes none.
    """

    repository: Repository
    storages: Storages
    registry: Registry
    runner: Runner
    scratch: Scratch
    tools: Mapping[str, str]
    capabilities: Capabilities = field(default_factory=Capabilities)
    destination: str
    stall_seconds: float
    job_seconds: float
    most_outputs: int = MAX_OUTPUTS
    on_progress: Callable[[Attempt, Progress], Awaitable[None]]
    on_state: Callable[[StateChange], Awaitable[None]]
    on_step: OnStep = no_step
    observer: Observer = field(default_factory=Unobserved)
    publisher: JobPublisher | None = None
    parts_url: str = ""
    offline_seconds: float = 15.0
