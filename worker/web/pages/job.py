"""One job: its life, its tasks, its log, what came out of it, and what can be done with it."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from worker.control.errors import NotFound
from worker.control.jobs import cancel_job, retry_job
from worker.control.query import find_job, job_log
from worker.control.steer import list_workers
from worker.core.errors import LeveretError
from worker.core.record import STATES
from worker.core.routing import JOBS, routing_key
from worker.web.dependencies import audit_entry, principal_of, services_of
from worker.web.pages.now import reasons
from worker.web.pages.rendering import act, draw, login_redirect, refusal

if TYPE_CHECKING:
    from worker.core.record import ArtifactRecord, JobRecord, LogRecord, PartRecord
    from worker.core.views import Expectation
    from worker.web.services import Services

router = APIRouter()

MAX_ARTIFACTS: Final = 60
MAX_WAITING: Final = 500
MAX_LOG: Final = 200_000
PLAYABLE: Final = ("video/mp4", "video/webm", "audio/")
HLS: Final = "application/vnd.apple.mpegurl"
DASH: Final = "application/dash+xml"


@dataclass(frozen=True, slots=True)
class Play:
    """One thing that can be played: `engine` is hls, dash or file."""

    label: str
    engine: str
    uri: str
    media_type: str


@router.get("/jobs/{job_id}")
async def get_job(request: Request, job_id: str) -> Response:
    """Draw one job."""
    if away := login_redirect("viewer", request):
        return away
    here = services_of(request)
    try:
        record = await find_job(here.control, job_id)
        log = await _log(here, record.job_id)
        audit = await here.views.audit(20, target=record.job_id) if _is_admin(request) else []
        why = await _why(here, record)
        expectation = await _expectation(here, record)
    except LeveretError as error:
        return refusal(request, error, "/jobs")
    values: dict[str, Any] = {"log": log, "audit": audit, "why": why, "expectation": expectation}
    return draw(request, "job.html", here="/jobs", job=record, **values, **_parts(here, record, log))


def _is_admin(request: Request) -> bool:
    principal = principal_of(request)
    return principal is not None and principal.may("admin")


async def _log(here: Services, job_id: str) -> LogRecord | None:
    try:
        return await job_log(here.control, job_id)
    except NotFound:
        return None


async def _why(here: Services, record: JobRecord) -> str:
    if record.state not in {"queued", "retrying"}:
        return ""
    waiting = await here.views.waiting(MAX_WAITING)
    found = reasons(waiting, await list_workers(here.control))
    return next(
        (why for one, why in zip(waiting, found, strict=True) if one.job.job_id == record.job_id), record.waits or ""
    )


async def _expectation(here: Services, record: JobRecord) -> Expectation | None:
    """Return what similar jobs took; of one that failed nothing is compared."""
    return await here.views.expectation(record.modules) if record.state not in {"dead", "cancelled"} else None


def seconds_of(record: JobRecord) -> float | None:
    """Return how long a completed job took, from the first attempt of its round."""
    started = min((one.started_at for one in record.attempts if one.round == record.round), default=None)
    if record.state != "completed" or started is None or record.finished_at is None:
        return None
    return (record.finished_at - started).total_seconds()


def counts_of(parts: list[PartRecord]) -> list[tuple[str, int]]:
    """Return how many parts are in each state that has one, in the order of a job's life."""
    counts = Counter(part.state for part in parts)
    return [(state, counts[state]) for state in STATES if counts[state]]


def _parts(here: Services, record: JobRecord, log: LogRecord | None) -> dict[str, Any]:
    made = [one for one in record.artifacts if one.role not in {"segment", "init"}]
    segments = len(record.artifacts) - len(made)
    message = record.document | {"job_id": record.job_id}
    text = log.text[-MAX_LOG:] if log else ""
    return {
        "plays": plays_of(record.artifacts),
        "poster": next((one.uri for one in record.artifacts if one.role in {"poster", "thumbnail"}), None),
        "storyboard": next((one.uri for one in record.artifacts if one.uri.endswith("storyboard.vtt")), None),
        "made": made[:MAX_ARTIFACTS],
        "hidden": max(0, len(made) - MAX_ARTIFACTS),
        "segments": segments,
        "took": seconds_of(record),
        "part_counts": counts_of(record.parts),
        "total_bytes": sum(one.bytes for one in record.artifacts),
        "commands": commands_in(text),
        "log_text": text,
        "tasks": [task for task in record.document.get("tasks", ()) if isinstance(task, dict)],
        "copies": copies_of(message, record, here.settings.serve_address),
    }


def plays_of(artifacts: list[ArtifactRecord]) -> list[Play]:
    """Return what can be played, adaptive presentations first."""
    found = []
    for one in artifacts:
        if one.role == "manifest" and one.media_type == HLS:
            found.append(Play("HLS", "hls", one.uri, one.media_type))
        elif one.role == "manifest" and one.media_type == DASH:
            found.append(Play("DASH", "dash", one.uri, one.media_type))
    # Most browsers' own controls know HLS best.
    found.sort(key=lambda play: play.engine != "hls")
    found += [
        Play(one.uri.rpartition("/")[2], "file", one.uri, one.media_type)
        for one in artifacts
        if one.role in {"file", "video"} and one.media_type.startswith((*PLAYABLE, "video/matroska"))
    ]
    return found


def commands_in(log: str) -> list[str]:
    """Return the command lines that a log shows, redacted when they were written."""
    lines = (line for line in log.splitlines() if line.startswith("[") and "] $ " in line)
    return [line.partition("] $ ")[2] for line in lines]


def copies_of(message: dict[str, Any], record: JobRecord, address: str) -> dict[str, str]:
    """Return the message as JSON, as a curl command, and as Python that publishes it."""
    fresh = {key: value for key, value in message.items() if key != "job_id"}
    document = json.dumps(fresh, ensure_ascii=False, indent=2)
    key = routing_key(record.lane or "cpu", record.priority or "normal")
    curl = (
        f"curl -sS -X POST http://{address}/api/v1/jobs \\\n"
        '  -H "Authorization: Bearer $LEVERET_TOKEN" -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(json.dumps(fresh, ensure_ascii=False))}"
    )
    pika = (
        "import json, os, pika\n\n"
        f"job = json.loads({json.dumps(fresh, ensure_ascii=False)!r})\n"
        'with pika.BlockingConnection(pika.URLParameters(os.environ["WORKER_BROKER_URL"])) as connection:\n'
        "    channel = connection.channel()\n"
        "    channel.confirm_delivery()\n"
        '    properties = pika.BasicProperties(content_type="application/json", delivery_mode=2)\n'
        f"    channel.basic_publish({JOBS!r}, {key!r}, json.dumps(job), properties, mandatory=True)\n"
    )
    return {"JSON": document, "curl": curl, "pika": pika}


@router.post("/jobs/{job_id}/cancel")
async def post_cancel(request: Request, job_id: str) -> Response:
    """Cancel the job."""

    async def work() -> tuple[str, str]:
        async with audit_entry(request, "job.cancel", job_id):
            asked = await cancel_job(services_of(request).control, job_id)
        stopped = "The job is cancelled." if asked.state == "cancelled" else "Its worker stops it within seconds."
        return f"/jobs/{asked.job_id}", stopped

    return await act(request, "operator", work, back=f"/jobs/{job_id}")


@router.post("/jobs/{job_id}/retry")
async def post_retry(request: Request, job_id: str) -> Response:
    """Run the job again."""

    async def work() -> tuple[str, str]:
        async with audit_entry(request, "job.retry", job_id):
            done = await retry_job(services_of(request).control, job_id)
        return f"/jobs/{done.job_id or job_id}", f"Published again, to {done.queue}."

    return await act(request, "operator", work, back=f"/jobs/{job_id}")
