"""The errors of Leveret: the class says what happened, its branch whether it may pass.

LeveretError
├── Permanent                 trying again cannot help: the job is dead at once
│   ├── InvalidJob            the message is not a valid job; all reasons are listed
│   ├── BadInput              a source is not what it claims to be
│   ├── RefusedPath           a path or URI lies outside what jobs may touch
│   ├── OutputExists          a file of another job or program is at an output's place
│   ├── IdReused              this id belongs to another job
│   ├── PlanBroken            a part cannot be made as its plan says: the job is planned again, or runs whole
│   ├── Unserved              no living worker can do what the job requires
│   ├── Undelivered           the broker itself moved its message to the dead letters
│   └── CrashLoop             the job took its worker down too often
├── Transient                 it may pass: retried with growing delays, counted
│   ├── SourceMissing         a source is not there (a mount may come back)
│   ├── RemoteUnavailable     a repository's server does not answer
│   ├── ToolFailed            a tool ended with an error
│   ├── ToolOutOfMemory       a tool needed more memory than it may have; twice in a row is final
│   ├── ToolStalled           a tool made no progress
│   ├── TimedOut              a task or the job ran out of time
│   ├── VerificationFailed    an output is not what was promised
│   └── StorageUnavailable    a destination or a remote source failed
├── Infrastructure            this host is sick: charged to no job
│   ├── DiskFull              scratch or destination has no space
│   ├── MountMissing          a root is not mounted
│   ├── ToolMissing           a program is not installed or does not start
│   ├── CannotServe           this worker lacks what the job requires; another may have it
│   ├── DatabaseUnavailable   the database does not answer
│   ├── BrokerUnavailable     the broker does not answer
│   └── ServerUnavailable     the server of LEVERET_SERVER does not answer
├── Interrupted               we were asked to stop: charged to no job
│   ├── ShuttingDown          the worker is going down
│   ├── LeaseLost             another worker owns the job now
│   └── JobCancelled          somebody cancelled the job
└── Misconfigured             the person at the keyboard must act: wrong
                              credentials, a database behind on migrations
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


OVERWRITE = 'remove it, or say "overwrite": true'
"""The message for a file that is where an output goes."""


class LeveretError(Exception):
    """The base of every error that this project raises on purpose; `str()` is one line that a person can act on."""


class Permanent(LeveretError):
    """Trying again cannot help."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a message: where (`tasks[0].data.sources`), and what."""

    path: str
    message: str

    def __str__(self) -> str:
        """Return `path: message`, or the message alone when the whole document is meant."""
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidJob(Permanent):
    """The message is not a valid job; `problems` holds every reason, in the order of the document."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


class BadInput(Permanent):
    """A source is no media, is damaged, or is not what its name says."""


class RefusedPath(Permanent):
    """A path or URI that jobs may not touch, met while the job runs; one in its message is part of its InvalidJob."""


class OutputExists(Permanent):
    """A file that is not this job's came to an output's place while the job ran, and it may not be replaced."""


class IdReused(Permanent):
    """The id of this message belongs to a job with another body."""


class PlanBroken(Permanent):
    """A part cannot be made as its plan says."""


class Unserved(Permanent):
    """Every living worker of the lane has refused the job for too long."""


class Undelivered(Permanent):
    """The broker moved the message to the dead letters before the job ended: it expired, or was returned too often."""


class CrashLoop(Permanent):
    """The job's attempts ended without a result too often."""


class Transient(LeveretError):
    """The failure may pass by itself."""


class SourceMissing(Transient):
    """A source does not exist now."""


class RemoteUnavailable(Transient):
    """The server of a repository does not answer, or its name is not known."""


class ToolFailed(Transient):
    """A tool ended with an error that says nothing about the input."""

    # `passing`: its words or its end speak of the host (memory, a signal, a file that was moved), and may not be said
    # again; the policy ends the retries of all others once they are said twice
    def __init__(self, message: str, *, passing: bool = False) -> None:
        self.passing = passing
        super().__init__(message)


class ToolOutOfMemory(ToolFailed):
    """A tool needed more memory than it may have; a second time in a row the job is dead."""


class ToolStalled(Transient):
    """A tool was alive but made no progress."""


class TimedOut(Transient):
    """A task or the job ran out of its time."""


class VerificationFailed(Transient):
    """An output is not what was promised."""


class StorageUnavailable(Transient):
    """A storage refused or failed, after its own retries."""


class Infrastructure(LeveretError):
    """This host, or a service that it needs, does not work."""


class DiskFull(Infrastructure):
    """No space is left."""


class MountMissing(Infrastructure):
    """A folder that must be there is not there."""


class ToolMissing(Infrastructure):
    """A program is not installed here, or does not start."""


class CannotServe(Infrastructure):
    """This worker has not proved what the job requires: the host is healthy, and another worker may do it."""


class DatabaseUnavailable(Infrastructure):
    """The database does not answer."""


class BrokerUnavailable(Infrastructure):
    """The broker does not answer, or did not confirm."""


class ServerUnavailable(Infrastructure):
    """The server that the commands go over does not answer."""


class Interrupted(LeveretError):
    """We were asked to stop."""


class ShuttingDown(Interrupted):
    """The worker is going down and gives the job back."""


class LeaseLost(Interrupted):
    """The job is no longer ours."""


class JobCancelled(Interrupted):
    """Somebody cancelled the job."""


class Misconfigured(LeveretError):
    """The person who started us must act; the message says how."""
