"""The event stream: it says `look again`, and never what there is to see."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from worker.web.dependencies import Here, Viewer
from worker.web.event_streams import pulse_events
from worker.web.problems import Refused

router = APIRouter(tags=["events"])

MAX_JOBS = 50


@router.get(
    "/events",
    summary="Hear when something changes (SSE)",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def get_events(
    here: Here,
    _: Viewer,
    job: Annotated[list[str] | None, Query(max_length=MAX_JOBS, description="Only these jobs, by their ids.")] = None,
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
) -> StreamingResponse:
    """Send `change` at once when something is not as it was at `Last-Event-ID`, then whenever something changes.

    `here` is a sign of life; at the first one read once, for something may have changed before. `trouble` says that
    the database could not be asked and why.
    """
    watched = frozenset(name for name in job or () if name.isprintable() and len(name) <= 128)  # noqa: PLR2004 - an id
    if not here.pulse.has_room(watched):
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"{here.pulse.watchers} streams are open already")
    seen = last_event_id if last_event_id and last_event_id.isalnum() else ""
    return StreamingResponse(pulse_events(here, watched, seen), media_type="text/event-stream")
