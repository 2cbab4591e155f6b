"""A job for a test, and repositories of which there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.core.errors import BadInput
from worker.core.job import Job, TaskSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from worker.core.ports import Clone


def make_job(*tasks: tuple[str, Mapping[str, Any]], job_id: str = "job-1", **fields: Any) -> Job:
    """Return a job of `tasks`, each a module's name and its data."""
    specs = tuple(TaskSpec(module, data, f"tasks[{index}].data") for index, (module, data) in enumerate(tasks))
    return Job(job_id, fields.pop("title", "a job"), specs, fields.pop("dialect", "canonical"), **fields)


class NoRepositories:
    """Repositories of which there is none."""

    async def clone(
        self, url: str, into: Path, *, token: str | None = None, mailmap: bool = False, label: str = ""
    ) -> Clone:
        """Raise BadInput."""
        del into, token, mailmap, label
        raise BadInput(f"{url}: there is no such repository")

    async def log(self, repository: Path, arguments: Sequence[str], *, name: str = "", label: str = "") -> Path:
        """Raise BadInput."""
        del arguments, name, label
        raise BadInput(f"{repository} is no repository")
