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
        "An error is `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail` with the words of the",
        "command line, and `problems`, a list of `path` and `message`. 429 and 503 say with `Retry-After` when to",
        "come back. Lists are read page by page: `next_cursor` goes into `cursor`. With an `Idempotency-Key` given to",
        "`POST /jobs`,",
        "the same key with the same message is one job. `GET /jobs/{id}` has an `ETag`; with `If-Match` cancel and",
        "retry touch only what was seen.",
        "",
        "`GET /events` is a stream of server-sent events: `change` says that something is not as it was (look again),",
        "`here` is a sign of life, `trouble` says why nobody knows. With `Last-Event-ID` a stream goes on from what",
        "was seen, also after the server was started again. Uploads to the NAS are tus 1.0.",
        "",
        *table(("Request", "Role", "Does"), rows),
    ]


def _rows(document: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"`{method.upper()} {path}`", operation.get("x-role", "none"), cell(operation["summary"])
