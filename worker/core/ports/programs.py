"""The ports of programs and of repositories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from worker.core.command import Exit, Pipeline


class Runner(Protocol):
    """Starts programs."""

    async def run(
        self,
        pipeline: Pipeline,
        on_line: Callable[[str], None] | None = None,
        *,
        timeout: float | None = None,
        stall: float | None = None,
        label: str = "",
        on_error: Callable[[str, str], None] | None = None,
    ) -> tuple[Exit, ...]:
        """Return how every stage ended.

        `on_line` gets the lines of the last stage's standard output, `on_error` (program, line) those of every
        stage's standard error, neither of them redacted.

        `timeout` and `stall` are seconds; a pipeline that exceeds them is stopped (TERM to its groups, 2 s, KILL)
        and its exits have the reason, as they do when this coroutine is cancelled, which stops it likewise.
        When it returns no descendant is alive. `label` marks the processes' environment
        (`LEVERET_ATTEMPT`), so that leftovers of a killed worker can be found. ToolMissing when a program
        does not start.
        """
        ...

    async def sweep(self, live: Callable[[str], bool]) -> int:
        """Kill processes of labels that are not live; return how many."""
        ...


@dataclass(frozen=True, slots=True)
class Clone:
    """A bare clone, and what people should know of it."""

    folder: Path
    warnings: tuple[str, ...] = ()


class Repositories(Protocol):
    """Clones repositories and reads their histories."""

    async def clone(
        self, url: str, into: Path, *, token: str | None = None, mailmap: bool = False, label: str = ""
    ) -> Clone:
        """Return a bare clone of `url` below `into`: the history of HEAD, and no file's content but `.mailmap`'s.

        Where HEAD names a branch that is not there, it is the history of a usual one, with a warning.

        BadInput for what is no repository, is empty, is too large, is not there or is not ours to read;
        RefusedPath for protocols, addresses and folders that jobs may not reach; RemoteUnavailable for what may
        pass. `token` and `label`: no error and no argv shows the one, the other marks the processes.
        """
        ...

    async def log(self, repository: Path, arguments: Sequence[str], *, name: str = "", label: str = "") -> Path:
        """Return the file that `git ARGUMENTS` wrote of a clone; `{output}` is its place in the arguments.

        BadInput when it is too large; ToolFailed when git fails. Errors are about the history of `name`.
        """
        ...
