"""Plans as the database gets them: ranges of ten frames, each with its message."""

from __future__ import annotations

import json
from hashlib import sha256

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
