"""The addresses under which this server shows files: `s3://bucket/key` is `/api/v1/files/s3/bucket/key`.

The path of the file stays a path, so that a playlist's relative names lead to its segments.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from worker.core.errors import LeveretError
from worker.core.location import External
from worker.web.problems import Refused

if TYPE_CHECKING:
    from worker.web.services import Services


def place_of(here: Services, scheme: str, path: str) -> External:
    """Return the place that an address of ours means; 404 for a scheme that has no files here."""
    if scheme not in {"file", "nas", "s3"}:
        raise Refused(HTTPStatus.NOT_FOUND, f"there are no files under {scheme[:20]!r}")
    prefix = "/" if scheme == "file" else f"{scheme}://"
    return here.place(prefix + path)


def file_path(here: Services, uri: str, kind: str = "through") -> str | None:
    """Return the path, below `/api/v1`, of a URI's file; None for what this server cannot show."""
    try:
        place = here.place(uri)
    except LeveretError:
        return None
    if place.scheme not in here.readers:
        return None
    host = f"{quote(place.host)}/" if place.scheme == "s3" else ""
    return f"/api/v1/{kind}/{place.scheme}/{host}{quote(place.key)}"
