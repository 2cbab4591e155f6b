"""The port that every private service fills, and what they share."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from infra.local.errors import ServiceError
from infra.local.process import POLL_SECONDS, Identity, Owner, last_words, spawn
from infra.local.state import Record


@dataclass(slots=True)
class Launch:
    """One start of one service: where it lives, what it was given, and the programs that it started."""

    folder: Path
    record: Record
    save: Callable[[], None]
    """Writes the record down, so that a start that is cut short can still be ended."""
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def spawn(
        self,
        part: str,
        argv: tuple[str, ...],
        environment: Mapping[str, str],
        *,
        folder: Path | None = None,
        owner: Owner | None = None,
    ) -> None:
        """Starts a program of this service and remembers it under the part's name."""
        log = self.log(part)
        log.unlink(missing_ok=True)
        try:
            child = spawn(argv, environment=environment, folder=folder or self.folder, log=log, owner=owner)
        except OSError as error:
            raise ServiceError(f"cannot start {argv[0]}: {error.strerror}") from error
        self.children[part] = child
        identity = Identity.of(child.pid)
        if identity is None:
            raise self.failure(part, f"ended at once with exit code {child.wait()}")
        self.record.processes[part] = identity
        self.save()

    def wait(self, part: str, ready: Callable[[], bool], seconds: float) -> None:
        """Returns once `ready()`; raises ServiceError with the log's last words if the part ends or lags."""
        deadline = time.monotonic() + seconds
        while not ready():
            exit_code = self.children[part].poll()
            if exit_code is not None:
                raise self.failure(part, f"ended with exit code {exit_code} while starting")
            if time.monotonic() > deadline:
                raise self.failure(part, f"was not ready after {seconds:.0f} s")
            time.sleep(POLL_SECONDS)

    def log(self, part: str) -> Path:
        """Return the file of the part's output."""
        return self.folder / f"{part}.log"

    def failure(self, part: str, fact: str) -> ServiceError:
        """The error that tells the fact, the log and its last words in one line."""
        log = self.log(part)
        return ServiceError(f"{part} {fact} ({log}): {last_words(log) or 'it said nothing'}")


class Service(Protocol):
    """A kind of server that `python -m infra` can run for this checkout alone."""

    name: str
    ports: tuple[str, ...]
    """The names of its ports; the first one is where its clients go."""
    parts: tuple[str, ...]
    """The names of its programs, in the order in which they start; the last one is the server."""
    stop_signal: signal.Signals
    """The signal for "end in order, now"."""
    grace_seconds: float
    """The seconds that it may take to end in order."""

    def check(self) -> None:
        """Raises NotInstalled when this machine lacks one of its programs."""

    def start(self, launch: Launch) -> None:
        """Starts the programs and returns when clients are served; raises ServiceError."""

    def environment(self, record: Record) -> dict[str, str]:
        """The variables that lead the worker to it."""

    def summary(self, record: Record) -> str:
        """Return the address for people; no secrets."""

    def sweep(self, record: Record) -> None:
        """Removes what a dead server leaves outside its folder."""

    def purge(self, record: Record) -> None:
        """Removes the data that it keeps outside its folder."""


def inherited(home: Path) -> dict[str, str]:
    """A small environment for a server: nothing of the caller's but PATH and the language."""
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin",
    }
