"""Leveret's plug-in API: everything that a task of your own needs, and nothing else.

Subclass `Task`, name it by an entry point of the group `leveret.tasks`, and run
`worker.testing.check_task` on it. docs/how-to/write-a-task.md shows one from start to end.
"""

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
