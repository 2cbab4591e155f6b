"""Parts of an object, by requests for ranges of one version of it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError

from worker.adapters.storage.s3.client import s3_errors
from worker.core.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from botocore.response import StreamingBody
    from types_boto3_s3 import S3Client

    from worker.adapters.threads import Stop
    from worker.core.location import External
    from worker.core.spans import Span

_CHUNK: Final = 1 << 20
_ATTEMPTS: Final = 4
_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


def fetch_spans(client: S3Client, place: External, version: str, spans: Sequence[Span], into: Path, stop: Stop) -> None:
    """Write spans of an object into a file at their own offsets; what breaks off goes on where it broke.

    StorageUnavailable when the object has another version than `stat` said, or the server sends no ranges.
    """
    with s3_errors(place), into.open("r+b", buffering=0) as file:
        for span in spans:
            left = _ATTEMPTS
            first, last = span
            while first < last:
                came = _received(client, place, version, (first, last), file.fileno(), stop)
                left = _ATTEMPTS if came else left - 1
                first += came
                if not left:
                    raise StorageUnavailable(f"{place}: the answer broke off {_ATTEMPTS} times at byte {first}")


def _received(client: S3Client, place: External, version: str, span: Span, file: int, stop: Stop) -> int:
    """Return how many bytes of a span one request brought."""
    size, _, tag = version.partition("-")
    first, last = span
    answer = client.get_object(Bucket=place.host, Key=place.key, Range=f"bytes={first}-{last - 1}", IfMatch=tag)
    body: StreamingBody = answer["Body"]
    try:
        found = _RANGE.fullmatch(answer.get("ContentRange", ""))
        if found is None or found.groups() != (str(first), str(last - 1), size) or answer.get("ETag", "") != tag:
            raise StorageUnavailable(f"{place}: the server sent another range or version than was asked for")
        return _written(body, file, span, stop)
    finally:
        body.close()


def _written(body: StreamingBody, file: int, span: Span, stop: Stop) -> int:
    first, last = span
    at = first
    while at < last:
        stop.check()
        try:
            piece = body.read(min(_CHUNK, last - at))
        except (BotoCoreError, OSError):
            break
        if not piece:
            break
        view = memoryview(piece)
        while view:
            count = os.pwrite(file, view, at)
            at, view = at + count, view[count:]
    return at - first
