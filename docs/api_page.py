"""The page of the API, from its OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model_tables import cell, table

from worker.settings import Settings
from worker.web.application import create

if TYPE_CHECKING:
    from collections.abc import Iterator


def api_page() -> list[str]:
    """Return the page of the API."""
    application = create(Settings(_env_file=None))
    document: dict[str, Any] = application._application.openapi()  # noqa: SLF001 - the guard around it has none
    rows = list(_rows(document))
    return [
        "# API",
        "",
        "`leveret serve` answers under `/api/v1`. The OpenAPI 3.1 document is `/api/v1/openapi.json`. Without tokens",
        "only this machine is answered, as an admin; with tokens each request carries `Authorization: Bearer TOKEN`,",
        "and `leveret token ROLE NAME` makes one. A viewer sees and plays, an operator submits and steers too, an",
        "admin may do everything.",
        "",
        "An error is `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail` with the text of the",
        "command line, and `problems`, a list of `path` and `message`. 429 and 503 name in `Retry-After` when to try",
        "again. Lists are read page by page: pass `next_cursor` as `cursor`. Two `POST /jobs` with the same",
        "`Idempotency-Key` and the same message make one job. `GET /jobs/{id}` has an `ETag`; with `If-Match`, cancel",
        "and retry change the job only if it has not changed since.",
        "",
        "`GET /events` is a stream of server-sent events: `change` says that something changed (read it again), `here`",
        "that the stream is alive (read once at the first one: something may have changed before), `trouble` why",
        "changes cannot be seen now. With `Last-Event-ID` a stream continues",
        "where it ended, also after a restart of the server. Uploads to the NAS use tus 1.0.",
        "",
        *table(("Request", "Role", "Does"), rows),
    ]


def _rows(document: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"`{method.upper()} {path}`", operation.get("x-role", "none"), cell(operation["summary"])
