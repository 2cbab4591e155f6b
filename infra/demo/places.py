"""The demo's folder, the environment that its processes share, and what it prints."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.command import STATE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from infra.local import LocalServices


@dataclass(frozen=True, slots=True)
class Demo:
    """The folder of a demo, and the environment that its worker and its commands share."""

    folder: Path
    environment: Mapping[str, str]

    @property
    def source(self) -> Path:
        """Return the clip that the job reads."""
        return self.folder / "nas" / "demo-source.mkv"

    def worker(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Return how a command of the worker's own command line ended."""
        argv = (sys.executable, "-m", "worker", *arguments)
        return subprocess.run(argv, env=dict(self.environment), cwd=STATE.parent, text=True, check=False, **options)


def prepared(services: LocalServices, *, s3: bool, postgres: bool) -> Demo:
    """Return the demo's places, with an environment that owes nothing to the user's own settings."""
    folder = STATE / "demo"
    for name in ("nas", "library", "scratch"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("WORKER_", "AWS_"))}
    environment = services.environment("rabbitmq")
    environment |= services.environment("s3") if s3 else {"WORKER_STORAGE_URL": f"file://{folder / 'library'}/"}
    database = {"WORKER_DATABASE_URL": f"sqlite:///{folder / 'leveret.db'}"}
    environment |= services.environment("postgres") if postgres else database
    environment |= {
        "WORKER_NAS_ROOT": str(folder / "nas"),
        "WORKER_SCRATCH": str(folder / "scratch"),
        "WORKER_ALLOW_FILE_REPOS": "true",
        "WORKER_GRACE_SECONDS": "5",
        "WORKER_HEARTBEAT_SECONDS": "2",
        "WORKER_LOG_FORMAT": "json",
    }
    lines = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
    settings = folder / "settings.sh"
    settings.touch(mode=0o600)
    settings.write_text(lines)
    return Demo(folder, inherited | environment)


def title(text: str) -> None:
    """Print the head of a step."""
    say(f"\n== {text}")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
