"""The demo's workers and its page: started anew by each run, ended by `make down`."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Final

from infra.command import STATE
from infra.local.ports import LOOPBACK, free_port, is_free
from infra.local.process import Identity, end, spawn
from worker.core.errors import LeveretError

if TYPE_CHECKING:
    from pathlib import Path

    from infra.demo.places import Demo

WORKERS: Final = ("worker", "second-worker")
STOP_SECONDS: Final = 15.0
STARTED_SECONDS: Final = 120.0
PAGE_PORT: Final = 8080


def start_workers(demo: Demo) -> None:
    """Start the demo's two workers anew: another run may have had other services."""
    for name in WORKERS:
        _start(demo, name)


def start_page(demo: Demo) -> str:
    """Start the demo's page anew; return its address once it answers."""
    end_page()
    port = PAGE_PORT if is_free(PAGE_PORT) else free_port(frozenset())
    address = f"{LOOPBACK}:{port}"
    _start(demo, "page", "serve", "--address", address)
    deadline = time.monotonic() + STARTED_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}/healthz", timeout=2):
            return address
        time.sleep(0.2)
    raise LeveretError(f"the page did not start: see {demo.folder / 'page.log'}")


def end_page() -> bool:
    """Return whether a page of an earlier demo was running; it is not any more."""
    return _end("page")


def end_workers() -> bool:
    """Return whether a worker of an earlier demo was running; none is any more."""
    ended = [_end(name) for name in WORKERS]
    return any(ended)


def _start(demo: Demo, name: str, *arguments: str) -> None:
    _end(name)
    process = spawn(
        (sys.executable, "-m", "worker", *arguments),
        environment=demo.environment,
        folder=STATE.parent,
        log=demo.folder / f"{name}.log",
    )
    if identity := Identity.of(process.pid):
        _file_of(name).write_text(json.dumps(identity.to_json()))


def _end(name: str) -> bool:
    path = _file_of(name)
    if not path.exists():
        return False
    identity = Identity.from_json(json.loads(path.read_text()))
    alive = identity.is_alive()
    if alive:
        end(identity, signal.SIGTERM, STOP_SECONDS)
    path.unlink()
    return alive


def _file_of(name: str) -> Path:
    return STATE / "demo" / f"{name}.json"
