"""What must hold when all is quiet again, looked at from outside: rows, files, objects, messages, processes."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.sql import SqlRepository
from worker.core import errors
from worker.core.routing import DEAD_QUEUE, DEATHS
from worker.core.topology import topology

from .jobs import DYING, FRAMES
from .published_files import PublishedFiles
from .world import DELAYS

if TYPE_CHECKING:
    from worker.core.record import ArtifactRecord, JobRecord

    from .hostile import HostilePublisher
    from .jobs import PlannedJob
    from .world import World

Sizes = Mapping[str, set[int]]
KINDS = ("lost", "doubled", "torn", "leaked", "revealed")
LEFT = re.compile(r".+\.\d+")
OWN_FOLDER = re.compile(r"/e\d+(-[0-9a-f]+)?/")


@dataclass
class Findings:
    """Every breach in words, by kind, and what else the table shows."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    revealed: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    divided: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    undisturbed: list[float] = field(default_factory=list)

    @property
    def breaches(self) -> list[str]:
        return [f"{kind}: {text}" for kind in KINDS for text in getattr(self, kind)]


def waiting(world: World) -> dict[str, int]:
    """Return the messages that are ready in each queue that has some, the dead letters aside."""
    names = [queue.name for queue in topology(tuple(map(float, DELAYS.split(",")))).queues]
    with Publisher(world.real["WORKER_BROKER_URL"]) as publisher:
        found = {name: publisher.count(name) for name in names if name not in {DEAD_QUEUE, DEATHS}}
    return {name: count for name, count in found.items() if count}


async def examine(
    world: World, jobs: list[PlannedJob], seen: Sizes | None = None, hostile: HostilePublisher | None = None
) -> Findings:
    """Return what is wrong with a world whose workers have ended; `seen` are the sizes that files once had."""
    findings = Findings()
    repository = SqlRepository(world.real["WORKER_DATABASE_URL"])
    try:
        if hostile is not None:
            jobs = [*jobs, *await hostile.planned(repository)]
            await hostile.judge(world, repository, findings)
        records = {job.job_id: await repository.job(job.job_id) for job in jobs}
    finally:
        await repository.close()
    stores = Stores(world)
    expected: set[str] = set()
    for job in jobs:
        expected |= _judge(job, records[job.job_id], stores, findings)
    _judge_places(stores, expected, records, findings)
    _judge_sizes(jobs, records, stores.sizes(), seen or {}, findings)
    _judge_messages(world, records, findings, hostile)
    _judge_host(world, findings)
    spans = sorted(_recoveries(world, records), key=lambda span: span[1] - span[0])
    findings.recoveries = [end - begin for begin, end in spans]
    findings.undisturbed = [
        end - begin for begin, end in spans if not any(begun < end and over > begin for begun, over in world.troubles)
    ]
    return findings


class Stores:
    """What stands on the NAS and in the bucket, read past the workers' own storages."""

    def __init__(self, world: World) -> None:
        self._nas = world.nas
        self._s3 = world.s3()

    def read(self, uri: str) -> bytes | None:
        if uri.startswith("s3://"):
            try:
                return self._s3.get_object(Bucket="media", Key=uri.removeprefix("s3://media/"))["Body"].read()
            except self._s3.exceptions.NoSuchKey:
                return None
        path = Path(uri.removeprefix("file://"))
        return path.read_bytes() if path.is_file() else None

    def visible_files(self) -> set[str]:
        """Return the URI of everything below the destinations."""
        out = self._nas / "out"
        found = {self.uri(path) for path in out.rglob("*") if path.is_file()}
        found |= {f"{self.uri(path)}/" for path in out.rglob("e[0-9]*") if path.is_dir() and not any(path.iterdir())}
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket="media", Prefix="chaos/"):
            found |= {f"s3://media/{item['Key']}" for item in page.get("Contents", ())}
        parts = self._s3.list_multipart_uploads(Bucket="media").get("Uploads", ())
        return found | {f"upload of s3://media/{item['Key']}" for item in parts}

    def sizes(self) -> dict[str, set[int]]:
        """Return how large everything below the destinations is."""
        published = PublishedFiles(self._nas / "out")
        published.look()
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket="media", Prefix="chaos/"):
            published.sizes |= {f"s3://media/{item['Key']}": {item["Size"]} for item in page.get("Contents", ())}
        return published.sizes

    def uri(self, path: Path) -> str:
        return f"file://{path}"

    def normal(self, uri: str) -> str:
        return f"file://{self._nas}/{uri.removeprefix('nas://')}" if uri.startswith("nas://") else uri


def _judge(job: PlannedJob, record: JobRecord | None, stores: Stores, findings: Findings) -> set[str]:
    """Return what the job may show; its breaches are noted."""
    if record is None or not record.is_terminal:
        findings.lost.append(f"{job.job_id} ({job.kind}) is {record.state if record else 'unknown'}")
        return set()
    findings.states[record.state] += 1
    if record.state == "dead":
        findings.errors[f"{job.kind}: {record.error_type}"] += 1
        if not issubclass(getattr(errors, str(record.error_type), Exception), errors.LeveretError):
            findings.lost.append(f"{job.job_id} ({job.kind}) died of a fault of ours: {record.error}")
    ends = [attempt for attempt in record.attempts if attempt.outcome == "completed"]
    if len(ends) != (record.state == "completed"):
        findings.doubled.append(f"{job.job_id} is {record.state} with {len(ends)} completed attempts")
    if any(attempt.ended_at is None for attempt in record.attempts):
        findings.doubled.append(f"{job.job_id} is {record.state} with an open attempt")
    if record.state == "completed" and job.kind in DYING:
        findings.doubled.append(f"{job.job_id} completed, which it never may")
    if job.source is not None and job.source.exists() == (record.state == "completed"):
        there = "still there" if job.source.exists() else "gone"
        (findings.leaked if job.source.exists() else findings.lost).append(
            f"{job.job_id} is {record.state} and its source is {there}"
        )
    if record.state == "completed" and not record.artifacts:
        findings.lost.append(f"{job.job_id} completed with nothing")
    if job.kind == "divided":
        _judge_parts(job, record, stores, findings)
    return {uri for artifact in record.artifacts for uri in _judge_file(job, artifact, stores, findings)}


def _judge_parts(job: PlannedJob, record: JobRecord, stores: Stores, findings: Findings) -> None:
    """Every picture is there once, whoever made it, and no part goes on after its film."""
    if record.state == "completed":
        for artifact in record.artifacts:
            found = _pictures(stores.read(stores.normal(artifact.uri)) or b"")
            if found != FRAMES:
                findings.torn.append(f"{job.job_id}: {artifact.uri} has {found} pictures instead of {FRAMES}")
        findings.divided["made in parts" if "ranges" in record.facts.get("parts", {}) else "made whole"] += 1
    open_parts = [part.job_id for part in record.parts if part.state not in {"completed", "cancelled", "dead"}]
    findings.lost += [f"{part} is open, and its job is {record.state}" for part in open_parts]


def _pictures(film: bytes) -> int:
    argv = ("ffprobe", "-v", "error", "-count_packets", "-select_streams", "v:0", "-show_entries",
            "stream=nb_read_packets", "-of", "csv=p=0", "-i", "pipe:0")  # fmt: skip
    answer = subprocess.run(argv, check=False, capture_output=True, input=film).stdout.decode()
    return int(answer.strip() or 0)


def _judge_file(job: PlannedJob, artifact: ArtifactRecord, stores: Stores, findings: Findings) -> set[str]:
    uri = stores.normal(artifact.uri)
    content = stores.read(uri)
    if content is None:
        findings.torn.append(f"{job.job_id}: {uri} is recorded and not there")
    elif (len(content), hashlib.sha256(content).hexdigest()) != (artifact.bytes, artifact.sha256):
        findings.torn.append(f"{job.job_id}: {uri} is not what is recorded")
    return {uri}


def _judge_places(stores: Stores, expected: set[str], records: dict[str, JobRecord | None], findings: Findings) -> None:
    standing = stores.visible_files()

    def shown(job_id: str | None) -> bool:
        """Return whether a file stands under a fixed name of the job: whole, revealed before its worker was killed."""
        return any(f"/{job_id}/" in uri and not OWN_FOLDER.search(uri) and ".leveret" not in uri for uri in standing)

    for uri in sorted(standing - expected):
        owner = next((job_id for job_id in records if f"/{job_id}/" in uri), None)
        record = records[owner] if owner else None
        if "/.parts/" in uri and ".leveret" not in uri and record is not None and record.state == "dead":
            # They are kept for a retry.
            continue
        breach = f"{uri} stands there, of a job that is {record.state if record else 'unknown'}"
        if ".leveret" not in uri and record is not None and record.state in {"dead", "cancelled"} and shown(owner):
            findings.shown.append(breach)
            continue
        ours = ".leveret" in uri or "/.parts/" in uri or OWN_FOLDER.search(uri)
        (findings.leaked if ours else findings.torn).append(breach)


def _judge_sizes(
    jobs: list[PlannedJob], records: dict[str, JobRecord | None], sizes: Sizes, seen: Sizes, findings: Findings
) -> None:
    """Whatever had its name was whole: now, of jobs that died too, and whenever a reader looked."""
    done = [record for record in records.values() if record is not None and record.state == "completed"]
    recorded: defaultdict[str, set[int]] = defaultdict(set)
    for record in done:
        for artifact in record.artifacts:
            recorded[artifact.uri.rpartition("/")[2]].add(artifact.bytes)
    for uri in sorted(sizes.keys() | seen.keys()):
        job = next((job for job in jobs if f"/{job.job_id}/" in uri), None)
        if job is None or ".leveret" in uri:
            continue
        whole = recorded.get(uri.rpartition("/")[2]) if job.size is None else {job.size}
        if whole and (other := (sizes.get(uri, set()) | seen.get(uri, set())) - whole):
            findings.torn.append(f"{uri} was seen with {sorted(other)} bytes, and is whole with {sorted(whole)}")


def _judge_messages(
    world: World, records: dict[str, JobRecord | None], findings: Findings, hostile: HostilePublisher | None
) -> None:
    findings.leaked += [f"{count} messages are left in {name}" for name, count in waiting(world).items()]
    with Publisher(world.real["WORKER_BROKER_URL"]) as publisher:
        refused = hostile.refused if hostile else set()
        letters = {letter.message_id for letter in publisher.dead_letters() if letter.digest not in refused}
    dead = {job_id for job_id, record in records.items() if record is not None and record.state == "dead"}
    # A message that expires after its job ended dies beside it.
    spare = hostile.expiring if hostile else set()
    findings.lost += [f"{job_id} is dead without a dead letter" for job_id in sorted(dead - letters)]
    findings.leaked += [
        f"{job_id} has a dead letter and is not dead" for job_id in sorted(map(str, letters - dead - spare))
    ]


def _judge_host(world: World, findings: Findings) -> None:
    mark = f"LEVERET_ATTEMPT={world.scratch}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and mark in _environment(entry):
            findings.leaked.append(f"process {entry.name} of an attempt is alive")
    findings.leaked += [f"scratch {path.name} is left" for path in world.scratch.iterdir() if LEFT.fullmatch(path.name)]


def _environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


def _recoveries(world: World, records: dict[str, JobRecord | None]) -> list[tuple[float, float]]:
    """Return the times from each SIGKILL of a worker in the middle of a job to that job's next attempt."""
    found = []
    for record in records.values():
        tries = sorted(record.attempts, key=lambda attempt: attempt.epoch) if record else []
        for crashed, following in pairwise(tries):
            if crashed.outcome != "crashed" or crashed.ended_at is None:
                continue
            begun, ended = crashed.started_at.timestamp(), crashed.ended_at.timestamp()
            kills = [kill.at for kill in world.kills if kill.worker == crashed.worker and begun <= kill.at <= ended]
            if kills:
                found.append((kills[0], following.started_at.timestamp()))
    return found
