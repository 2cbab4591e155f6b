"""The same ffmpeg command by hand against the job through the broker, on the same clip, in the same run.

    python -m benchmarks overhead [--seconds 60] [--pairs 5]

A private RabbitMQ, a database in a file and one worker are started and ended here. A job's wall time runs from before
its publishing until the end that its record names. The record is read every two seconds: reading it takes
processor from the encoder. The tool's niceness is set to 0 for the worker, so that both sides count alike with the
kernel. Hand and job take turns, and turns at being first, since a machine's speed drifts; the pair with the median
ratio is printed. Where the command by hand takes other times from pair to pair, the machine is not quiet.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pika

from benchmarks.measure import cost, host, made, packets
from infra.local import LocalServices
from infra.provision import provision
from infra.settings import ProvisionSettings
from worker.adapters.sql import SqlRepository
from worker.core.routing import JOBS, routing_key
from worker.media.ffmpeg.command import ffmpeg_command
from worker.media.ffmpeg.params import FfmpegParams

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from worker.core.record import JobRecord

PROMISED, GOAL = 1.05, 1.03
SOURCE = ("-c:v", "libx264", "-preset", "medium", "-crf", "20", "-c:a", "aac", "-b:a", "128k")
START_SECONDS = 60.0
JOB_SECONDS = 900.0
GRACE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Times:
    """Where a job's wall seconds went: until its claim, in its task, in publishing and recording it."""

    wall: float
    claim: float
    task: float
    settle: float


def data(source: Path) -> dict[str, Any]:
    """Return the data of the ffmpeg task."""
    return {
        "sources": [str(source)],
        "source_maps": [{"specifier": "v", "stream": 0}, {"specifier": "a", "stream": 0}],
        "output_maps": [
            {"specifier": "v", "options": {"codec": "libx264", "preset": "veryfast", "crf": 23}},
            {"specifier": "a", "options": {"codec": "aac", "b": "128k"}},
        ],
        "output_file": "out.mp4",
    }


@contextmanager
def fleet(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the environment of a private broker with one worker that is ready; both end with the block."""
    services = LocalServices(folder / "services")
    for name in ("nas", "library"):
        (folder / name).mkdir()
    try:
        services.up()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
        environment = inherited | services.environment("rabbitmq")
        environment |= {
            "WORKER_DATABASE_URL": f"sqlite:///{folder / 'leveret.db'}",
            "WORKER_STORAGE_URL": f"file://{folder / 'library'}/",
            "WORKER_NAS_ROOT": str(folder / "nas"),
            "WORKER_SCRATCH": str(folder / "scratch"),
            "WORKER_GRACE_SECONDS": str(GRACE_SECONDS),
            "WORKER_NICE": "0",
        }
        provisioned = list(provision(ProvisionSettings.read(environment)))
        assert provisioned, "nothing is provisioned"
        with (folder / "worker.log").open("wb") as log:
            argv = (sys.executable, "-m", "worker")
            worker = subprocess.Popen(argv, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            if not asyncio.run(ready(environment, worker)):
                raise SystemExit(f"the worker did not start: {(folder / 'worker.log').read_text()[-600:]}")
            yield environment
        finally:
            worker.send_signal(signal.SIGTERM)
            try:
                worker.wait(2 * GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
    finally:
        services.down(purge=True)


async def ready(environment: Mapping[str, str], worker: subprocess.Popen[bytes]) -> bool:
    """Return whether the worker says in time that it is idle, its proofs of what the host can do being over."""
    repository = SqlRepository(environment["WORKER_DATABASE_URL"])
    deadline = time.monotonic() + START_SECONDS
    try:
        while not any(one.status == "idle" for one in await repository.workers(START_SECONDS)):
            if worker.poll() is not None or time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.1)
        return True
    finally:
        await repository.close()


async def through_the_broker(environment: Mapping[str, str], source: Path) -> tuple[JobRecord, Times]:
    """Return the record of a job that completed, and where its time went."""
    repository = SqlRepository(environment["WORKER_DATABASE_URL"])
    job = {"job_id": f"overhead-{uuid.uuid4().hex}", "tasks": [{"module": "ffmpeg", "data": data(source)}]}
    begun, begun_at = time.perf_counter(), time.time()
    try:
        await asyncio.to_thread(publish, environment["WORKER_BROKER_URL"], job)
        while (record := await repository.job(str(job["job_id"]))) is None or not record.is_terminal:
            if time.perf_counter() - begun > JOB_SECONDS:
                raise SystemExit("the job did not end")
            await asyncio.sleep(2)
    finally:
        await repository.close()
    if record.state != "completed" or record.started_at is None or record.finished_at is None:
        raise SystemExit(f"the job is {record.state}: {record.error}")
    wall = record.finished_at.timestamp() - begun_at
    task = sum(item["seconds"] for item in record.metrics["task_seconds"])
    claim = record.started_at.timestamp() - begun_at
    return record, Times(wall, claim, task, wall - claim - task)


def publish(url: str, job: Mapping[str, Any]) -> None:
    """Publish a job as any program would."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        # pika annotates only in part.
        properties = pika.BasicProperties(content_type="application/json", delivery_mode=2)  # type: ignore[no-untyped-call]
        channel.basic_publish(JOBS, routing_key("cpu", "normal"), json.dumps(job).encode(), properties, mandatory=True)


def table(environment: Mapping[str, str], folder: Path, seconds: float, pairs: int) -> str:
    """Return the table's line; SystemExit where hand and job do not write the same packets."""
    clip = made("720p-H264", seconds, *SOURCE)
    source = folder / "nas" / "in.mp4"
    source.write_bytes(clip.read_bytes())
    output = folder / "by-hand.mp4"
    params = FfmpegParams.model_validate(data(source))
    argv = ffmpeg_command(params, "ffmpeg", [source], output).stages[0].argv
    measured: list[tuple[float, Times]] = []
    for number in range(pairs):
        hand = 0.0 if number % 2 else cost(argv).wall
        record, times = asyncio.run(through_the_broker(environment, source))
        hand = hand or cost(argv).wall
        measured.append((hand, times))
        if packets(Path(record.artifacts[0].uri.removeprefix("file://"))) != packets(output):
            raise SystemExit("hand and job write different packets, so that nothing is compared")
    measured.sort(key=lambda pair: pair[1].wall / pair[0])
    hand, job = measured[len(measured) // 2]
    ratios = [job.wall / hand for hand, job in measured]
    hands = [hand for hand, _ in measured]
    cells = (
        f"{seconds:.0f}",
        f"{hand:.2f}",
        f"{min(hands):.2f} to {max(hands):.2f}",
        f"{job.wall:.2f}",
        f"**{job.wall / hand:.3f}**",
        f"{ratios[0]:.3f} to {ratios[-1]:.3f}",
        f"{PROMISED:.2f}",
        f"{GOAL:.2f}",
        f"{job.claim:.2f}",
        f"{job.task - hand:.2f}",
        f"{job.settle:.2f}",
    )
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="overhead", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of the 720p clip")
    parser.add_argument("--pairs", type=int, default=5)
    chosen = parser.parse_args(arguments)
    print(f"The same ffmpeg command by hand and as a job through the broker, 1280x720; {host()}\n")
    print(
        "| clip, s | by hand, wall s | of all pairs | job, wall s | ratio | of all pairs | promised | goal "
        "| to the claim, s | probe and proof, s | plan, sum, publish, record, s |"
    )
    print(f"|{'---|' * 11}")
    with tempfile.TemporaryDirectory(prefix="overhead-") as name, fleet(Path(name)) as environment:
        print(table(environment, Path(name), chosen.seconds, chosen.pairs), flush=True)


if __name__ == "__main__":
    main()
