"""Leveret's plug-in API: everything that a task of your own needs, and nothing else.

Subclass `Task`, name it by an entry point of the group `leveret.tasks`, and run
`worker.testing.check_task` on it. docs/how-to/write-a-task.md shows one from start to end.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from worker.core.attempt import Artifact
    from worker.core.command import Command, Exit, Pipeline, Reason
    from worker.core.errors import (
        BadInput,
        Infrastructure,
        Interrupted,
        InvalidJob,
        LeveretError,
        Permanent,
        Problem,
        RefusedPath,
        SourceMissing,
        TimedOut,
        ToolFailed,
        ToolMissing,
        ToolStalled,
        Transient,
        VerificationFailed,
    )
    from worker.core.job import Model
    from worker.core.media_info import MediaInfo, StreamInfo
    from worker.core.task import Files, FileUse, Lookup, Task, TaskContext

__version__ = "0.1.0"

__all__ = [
    "Artifact",
    "BadInput",
    "Command",
    "Exit",
    "FileUse",
    "Files",
    "Infrastructure",
    "Interrupted",
    "InvalidJob",
    "LeveretError",
    "Lookup",
    "MediaInfo",
    "Model",
    "Permanent",
    "Pipeline",
    "Problem",
    "Reason",
    "RefusedPath",
    "SourceMissing",
    "StreamInfo",
    "Task",
    "TaskContext",
    "TimedOut",
    "ToolFailed",
    "ToolMissing",
    "ToolStalled",
    "Transient",
    "VerificationFailed",
    "__version__",
]

_HOMES: Final = ("task", "errors", "command", "attempt", "job", "media_info")


def __getattr__(name: str) -> Any:
    """Return a name of `__all__` from the module that has it: a command that only prints help imports none of them."""
    if name in __all__:
        for home in _HOMES:
            if hasattr(module := import_module(f"worker.core.{home}"), name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
