"""Who is measured: our worker, and its peers in an environment of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pika

from infra.migrations import upgrade
from worker.core.routing import JOBS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Candidate:
    """How a worker is started and fed."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    publish: Callable[[int, float], None]
    stamps: Path


def plugin(folder: Path) -> Path:
    """Return a folder that makes the module `noop` known."""
    information = folder / "plugin" / "noop_task-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: noop-task\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[leveret.tasks]\nnoop = noop_task:NoopTask\n")
    return information.parent


def send(url: str, count: int, pause: float, seconds: float = 0.0) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        # A busy quorum queue may lose what a channel without confirms had on its way when it closed.
        channel.confirm_delivery()
        for _ in range(count):
            body = {
                "job_id": str(uuid.uuid4()),
                "tasks": [{"module": "noop", "data": {"sent": time.time(), "seconds": seconds}}],
            }
            properties = pika.BasicProperties(delivery_mode=2)
            channel.basic_publish(JOBS, "cpu.normal", json.dumps(body).encode(), properties)
            connection.sleep(pause) if pause else None


def ours(name: str, broker_url: str, database_url: str, folder: Path, modules: Path) -> Candidate:
    stamps = folder / f"{name}.txt"
    upgrade(database_url)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(HERE.parent), str(HERE), str(modules))),
        "STAMPS": str(stamps),
        "WORKER_BROKER_URL": broker_url,
        "WORKER_DATABASE_URL": database_url,
        "WORKER_STORAGE_URL": f"file://{folder}",
        "WORKER_SCRATCH": str(folder / "scratch"),
        "WORKER_LOG_LEVEL": "warning",
    }
    argv = (sys.executable, "-m", "worker", "run", "--lanes", "cpu")
    return Candidate(name, argv, environment, lambda count, pause: send(broker_url, count, pause), stamps)


def peers_environment(folder: Path) -> Path:
    """Return the folder of the programs of an environment with the peers in it."""
    venv.create(folder, with_pip=True)
    wanted = HERE / "requirements-peers.txt"
    subprocess.run((folder / "bin" / "pip", "install", "-q", "-r", wanted), check=True)
    return folder / "bin"


PEERS: Final = {
    "dramatiq": ("peer_tasks", "--processes", "1", "--threads", "1"),
    "celery": ("-A", "peer_tasks", "worker", "-c", "1", "--without-gossip", "--without-mingle"),
    "taskiq": ("worker", "peer_tasks:app", "--workers", "1", "--max-async-tasks", "1"),
    "procrastinate": ("--app", "peer_tasks.app", "worker", "--concurrency", "1"),
    "oban": ("start", "--queues", "default:1", "--cron-modules", "peer_tasks", "--log-level", "WARNING"),
}
"""How each peer starts one worker that does one job at a time."""

KEEP_ROWS: Final = {
    "procrastinate": ("--app", "peer_tasks.app", "schema", "--apply"),
    "oban": ("install",),
}
"""The peers that keep a row for each job, in PostgreSQL, and how each makes its tables."""


def peer(name: str, broker_url: str, database_url: str, folder: Path, programs: Path) -> Candidate:
    """Return a peer, whose tables are made."""
    stamps = folder / f"{name}.txt"
    environment = os.environ | {
        "PEER": name,
        "BROKER_URL": broker_url,
        "OBAN_DSN": database_url,
        "DATABASE_URL": database_url,
        "STAMPS": str(stamps),
        "PYTHONPATH": str(HERE),
    }
    if name in KEEP_ROWS:
        subprocess.run((programs / name, *KEEP_ROWS[name]), env=environment, check=True, stdout=subprocess.DEVNULL)

    def publish(count: int, pause: float) -> None:
        argv = (programs / "python", HERE / "peer_tasks.py", str(count), str(pause))
        subprocess.run(argv, env=environment, check=True)

    return Candidate(name, (str(programs / name), *PEERS[name]), environment, publish, stamps)
