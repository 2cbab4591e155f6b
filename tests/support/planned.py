"""Plans as the database gets them: ranges of ten frames, each with its message; and jobs that are divided by them."""

from __future__ import annotations

import json
from hashlib import sha256

from tests.support.repositories import artifact, granted
from worker.core.attempt import Artifact, Result
from worker.core.message.dialects import decode
from worker.core.parts import Part, Plan, part_id, part_key
from worker.core.ports.parts import PlannedPart

COUNT = 3


def plan_of(identity: str = "one", count: int = COUNT) -> Plan:
    ranges = [Part(n, part_key(identity, "frames", n * 10, n * 10 + 10), n * 10, n * 10 + 10) for n in range(count)]
    return Plan(0, count * 10, identity, "ffmpeg", tuple(ranges))


def as_jobs(plan: Plan, parent: str = "j1") -> list[PlannedPart]:
    found = []
    for part in plan.parts:
        own = part_id(parent, part.index)
        document = {"job_id": own, "job_title": own, "tasks": [{"module": "ffmpeg", "data": {}}]}
        document["part"] = {"job": parent, "index": part.index, "key": part.key}
        body = json.dumps(document).encode()
        found.append(PlannedPart(part, decode(body, own), body, sha256(body).hexdigest()))
    return found


async def divided(repository, plan=None):
    """Return the planned parts of a job that waits for them; their messages are published."""
    plan = plan or plan_of()
    attempt = await granted(repository)
    planned = as_jobs(plan)
    await repository.divide(attempt, plan.document(), planned, ())
    await empty_outbox(repository)
    return planned


async def empty_outbox(repository):
    """Return the ids in the outbox, which is empty afterwards."""
    messages = await repository.outbox(0.0, 100)
    await repository.published([message.number for message in messages])
    return [message.job_id for message in messages]


async def taken(repository, planned, **values):
    return await granted(repository, a_job=planned.job, digest=planned.digest, **values)


def made(planned):
    file = artifact(f"file:///s/.parts/j1/{planned.part.file}")
    return Result((Artifact("part", file.path, file.uri, file.media_type, file.bytes, file.sha256),))
