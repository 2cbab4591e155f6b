"""Programs that outlive the command that started them, known by pid and birth."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import psutil

POLL_SECONDS = 0.05
# How SeaweedFS marks the line that says why it ends; a trace of all its threads follows.
_FATAL = re.compile(r"^F\d{4} ")


@dataclass(frozen=True, slots=True)
class Owner:
    """A user whom a program runs as instead of ours."""

    user_id: int
    group_id: int


@dataclass(frozen=True, slots=True)
class Identity:
    """One process of one boot: a pid alone is reused by the system."""

    pid: int
    started_ticks: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process that has this pid now; None if there is none or only its exit status is left."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            threads = sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The program's name is in brackets and may itself hold spaces and brackets.
        fields = stat.rpartition(")")[2].split()
        state, started_ticks = fields[0], int(fields[19])
        # A killed leader is a zombie before its last thread is gone, and those still hold the ports.
        gone = state in "ZX" and threads <= 1
        return None if gone else cls(pid, started_ticks, boot_id())

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The identity that `to_json` wrote."""
        return cls(int(document["pid"]), int(document["started_ticks"]), str(document["boot"]))

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)

    def is_alive(self) -> bool:
        """Return whether this very process still runs."""
        return Identity.of(self.pid) == self


def boot_id() -> str:
    """The name of this boot of this machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def spawn(
    argv: tuple[str, ...],
    *,
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    owner: Owner | None = None,
) -> subprocess.Popen[bytes]:
    """A program in a session of its own, so that no terminal's Ctrl-C and no parent's end reaches it."""
    with log.open("ab") as output:
        return subprocess.Popen(
            argv,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=owner.user_id if owner else None,
            group=owner.group_id if owner else None,
            extra_groups=() if owner else None,
        )


def family_of(identity: Identity) -> tuple[Identity, ...]:
    """The process and all its descendants, parents first; empty if it is gone."""
    if not identity.is_alive():
        return ()
    try:
        children = psutil.Process(identity.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return ()
    found = (Identity.of(child.pid) for child in children)
    return (identity, *(child for child in found if child is not None))


def send(identity: Identity, signal_number: signal.Signals) -> None:
    """Signals this very process; a process that is gone is left in peace."""
    if identity.is_alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity.pid, signal_number)


def end(identity: Identity, first: signal.Signals, grace_seconds: float) -> bool:
    """True if the first signal ended the process and its children; else all were killed after the grace."""
    # Listed beforehand: the children of a parent that is gone can no longer be found through it.
    members = family_of(identity)
    send(identity, first)
    if _gone(members, grace_seconds):
        return True
    kill(members)
    return False


def kill(members: tuple[Identity, ...]) -> None:
    """Ends processes at once, as a crash would."""
    for member in members:
        send(member, signal.SIGKILL)
    _gone(members, grace_seconds=10)


def release(child: subprocess.Popen[bytes]) -> None:
    """Leaves a program to itself: it may outlive us, and `end` and `kill` find it by its identity."""
    # Popen would warn of a child that still runs when nobody holds it any longer; that is what is wanted.
    if child.returncode is None:
        child.returncode = 0


def _gone(members: tuple[Identity, ...], grace_seconds: float) -> bool:
    deadline = time.monotonic() + grace_seconds
    while any(member.is_alive() for member in members):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    for member in members:
        # A dead child of ours stays in the process table until we ask for its exit code.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(member.pid, os.WNOHANG)
    return True


def last_words(log: Path, lines: int = 3) -> str:
    """The fatal line of a log, else its end, in one line of at most 600 characters; empty if there is none."""
    if not log.exists():
        return ""
    text = log.read_bytes()[-65536:].decode(errors="replace")
    written = [line.strip() for line in text.splitlines() if line.strip()]
    fatal = [line for line in written if _FATAL.search(line)]
    return " / ".join(line[:200] for line in fatal[-1:] or written[-lines:])
