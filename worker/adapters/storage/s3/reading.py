"""Buckets as people look at them: links for browsers, ranges that we pass on, and uploads that pass us by."""

from __future__ import annotations

import asyncio
import secrets
import threading
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from worker.adapters.storage.s3.client import MISSING, code_of, make_client, s3_errors
from worker.adapters.storage.s3.roots import S3Roots
from worker.adapters.storage.s3.walking import walk
from worker.adapters.threads import iterated
from worker.core.errors import InvalidJob, Problem, SourceMissing, StorageUnavailable, VerificationFailed
from worker.core.location import External, is_speakable
from worker.core.media_types import DEFAULT, media_type_of
from worker.core.ports.files import Entry, MultipartUpload
from worker.core.upload_name import safe_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from botocore.response import StreamingBody
    from types_boto3_s3 import S3Client

    from worker.adapters.storage.s3.client import Connect
    from worker.core.ports.files import Found

CHUNK: Final = 256 * 1024
PART_BYTES: Final = 16 << 20
MAX_PARTS: Final = 10_000
LINK_SECONDS: Final = 6 * 3600
"""The seconds in which a browser may PUT one part after it asked for its address."""


class _Connected:
    """A client that is made when it is first needed."""

    def __init__(self, connect: Connect = make_client) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._client: S3Client | None = None

    @property
    def client(self) -> S3Client:
        with self._lock:
            if self._client is None:
                self._client = self._connect(attempts=2, read_seconds=30.0)
            return self._client


@dataclass(slots=True)
class RemoteFile:
    """An object: each read is a request of its own, for the version that was there when it was opened."""

    connected: _Connected
    place: External
    size: int
    media_type: str
    modified: float
    etag: str

    async def read(self, start: int, length: int) -> AsyncIterator[bytes]:
        """Yield these bytes; StorageUnavailable when the object is another one by now or the answer breaks off."""
        if length == 0:
            return
        body = await asyncio.to_thread(self._body, start, length)
        left = length
        try:
            while left:
                with s3_errors(self.place):
                    piece = await asyncio.to_thread(body.read, min(CHUNK, left))
                if not piece:
                    raise StorageUnavailable(f"{self.place}: the answer broke off")
                left -= len(piece)
                yield piece
        finally:
            body.close()

    def _body(self, start: int, length: int) -> StreamingBody:
        with s3_errors(self.place):
            answer = self.connected.client.get_object(
                Bucket=self.place.host,
                Key=self.place.key,
                Range=f"bytes={start}-{start + length - 1}",
                IfMatch=f'"{self.etag}"',
            )
        return answer["Body"]

    async def close(self) -> None:
        """Nothing is held between two reads."""


class S3Reader:
    """`worker.core.ports.files.FileReader` for `s3`, inside the same prefixes as jobs."""

    schemes = frozenset({"s3"})

    def __init__(self, roots: Iterable[External], connect: Connect = make_client) -> None:
        self._places = tuple(roots)
        self._roots = S3Roots(self._places)
        self._connected = _Connected(connect)

    @property
    def folders(self) -> tuple[External, ...]:
        """Return the roots."""
        return tuple(External("s3", one.host, one.path.rstrip("/") + "/") for one in self._places)

    async def open(self, place: External) -> RemoteFile:
        """Return the object, known by a request for its head."""
        self._roots.admit(place, writing=False)
        return await asyncio.to_thread(self._open, place)

    def _open(self, place: External) -> RemoteFile:
        with s3_errors(place):
            try:
                head = self._connected.client.head_object(Bucket=place.host, Key=place.key)
            except ClientError as error:
                if code_of(error) in MISSING:
                    raise SourceMissing(f"{place} does not exist") from error
                raise
        declared = head.get("ContentType") or DEFAULT
        media_type = media_type_of(place.name) if declared in {DEFAULT, "binary/octet-stream"} else declared
        modified = head["LastModified"].timestamp()
        return RemoteFile(self._connected, place, head["ContentLength"], media_type, modified, head["ETag"].strip('"'))

    async def entries(self, folder: External, limit: int) -> tuple[Entry, ...]:
        """Return what is under a prefix, folders first."""
        inside = self._roots.admit_folder(folder)
        return await asyncio.to_thread(self._entries, inside, limit)

    def _entries(self, folder: External, limit: int) -> tuple[Entry, ...]:
        folders: list[Entry] = []
        found: list[Entry] = []
        with s3_errors(folder):
            pages = self._connected.client.get_paginator("list_objects_v2").paginate(
                Bucket=folder.host, Prefix=folder.key, Delimiter="/", PaginationConfig={"MaxItems": limit}
            )
            for page in pages:
                names = (
                    item.get("Prefix", "")[len(folder.key) :].rstrip("/") for item in page.get("CommonPrefixes", ())
                )
                folders += [Entry(name, is_folder=True) for name in names if _shows(name)]
                for item in page.get("Contents", ()):
                    name = item["Key"][len(folder.key) :]
                    if _shows(name):
                        found.append(Entry(name, False, item["Size"], item["LastModified"].timestamp()))
        return tuple([*folders, *found][:limit])

    async def walk(self, folder: External) -> AsyncIterator[tuple[Found, ...]]:
        """Yield the objects under a prefix in batches."""
        inside = self._roots.admit_folder(folder)
        async for batch in iterated(walk(self._connected.client, inside)):
            yield batch

    async def local(self, place: External) -> Path | None:
        """Return None: it must be fetched."""
        self._roots.admit(place, writing=False)
        return None

    async def link(self, place: External, seconds: int) -> str | None:
        """Return a presigned address; whoever has it may read this object until then."""
        self._roots.admit(place, writing=False)
        return await asyncio.to_thread(self._link, place, seconds)

    def _link(self, place: External, seconds: int) -> str:
        asked = {"Bucket": place.host, "Key": place.key, "ResponseContentType": media_type_of(place.name)}
        with s3_errors(place):
            return self._connected.client.generate_presigned_url("get_object", Params=asked, ExpiresIn=seconds)


class S3Uploads:
    """`worker.core.ports.files.MultipartStore` in `folder` below the first root."""

    def __init__(self, root: External, folder: str, *, most_bytes: int, connect: Connect = make_client) -> None:
        self._folder = External("s3", root.host, f"{root.path.rstrip('/')}/{folder}/")
        self._most_bytes = most_bytes
        self._connected = _Connected(connect)

    async def begin(self, name: str, size: int) -> MultipartUpload:
        """Return a new upload; InvalidJob when it is too large."""
        if not 0 < size <= self._most_bytes:
            raise InvalidJob([Problem("bytes", f"an upload has 1 to {self._most_bytes} bytes, not {size}")])
        place = self._folder.joined(f"{secrets.token_hex(4)}-{safe_name(name)}")
        part = max(PART_BYTES, -(-size // MAX_PARTS))
        return await asyncio.to_thread(self._begin, place, part)

    def _begin(self, place: External, part: int) -> MultipartUpload:
        with s3_errors(place):
            begun = self._connected.client.create_multipart_upload(
                Bucket=place.host, Key=place.key, ContentType=media_type_of(place.name)
            )
        return MultipartUpload(place, begun["UploadId"], part)

    async def get(self, place: External, upload_id: str) -> MultipartUpload:
        """Return an upload with the parts that are there; SourceMissing when there is none."""
        self._require_ours(place)
        sizes = {number: size for number, (size, _) in (await asyncio.to_thread(self._parts, place, upload_id)).items()}
        return MultipartUpload(place, upload_id, max([PART_BYTES, *sizes.values()]), sizes)

    def _parts(self, place: External, upload_id: str) -> dict[int, tuple[int, str]]:
        with s3_errors(place):
            try:
                pages = self._connected.client.get_paginator("list_parts").paginate(
                    Bucket=place.host, Key=place.key, UploadId=upload_id
                )
                return {
                    part["PartNumber"]: (part["Size"], part["ETag"]) for page in pages for part in page.get("Parts", ())
                }
            except ClientError as error:
                if code_of(error) in MISSING | {"NoSuchUpload"}:
                    raise SourceMissing(
                        f"there is no upload to {place}: it is complete, cancelled or too old"
                    ) from error
                raise

    async def links(self, place: External, upload_id: str, numbers: tuple[int, ...]) -> dict[int, str]:
        """Return by part an address to which it can be PUT."""
        self._require_ours(place)
        return await asyncio.to_thread(self._links, place, upload_id, numbers)

    def _links(self, place: External, upload_id: str, numbers: tuple[int, ...]) -> dict[int, str]:
        client = self._connected.client
        asked = {"Bucket": place.host, "Key": place.key, "UploadId": upload_id}
        with s3_errors(place):
            return {
                number: client.generate_presigned_url(
                    "upload_part", Params=asked | {"PartNumber": number}, ExpiresIn=LINK_SECONDS
                )
                for number in numbers
            }

    async def origin(self) -> str:
        """Return the scheme and host to which browsers send parts: a page must be allowed to reach it."""
        links = await asyncio.to_thread(self._links, self._folder.joined("x"), "none", (1,))
        address = urlsplit(links[1])
        return f"{address.scheme}://{address.netloc}"

    async def finish(self, place: External, upload_id: str, size: int) -> None:
        """Make the object out of its parts; VerificationFailed when they are not `size` bytes."""
        self._require_ours(place)
        await asyncio.to_thread(self._finish, place, upload_id, size)

    def _finish(self, place: External, upload_id: str, size: int) -> None:
        parts = self._parts(place, upload_id)
        there = sum(bytes_ for bytes_, _ in parts.values())
        if there != size:
            raise VerificationFailed(f"{place}: {there} of {size} bytes are there")
        made = [{"PartNumber": number, "ETag": parts[number][1]} for number in sorted(parts)]
        with s3_errors(place):
            self._connected.client.complete_multipart_upload(
                Bucket=place.host,
                Key=place.key,
                UploadId=upload_id,
                MultipartUpload={"Parts": made},  # type: ignore[typeddict-item]  # exactly such pairs
            )

    async def cancel(self, place: External, upload_id: str) -> None:
        """Remove its parts; none there is success."""
        self._require_ours(place)
        await asyncio.to_thread(self._cancel, place, upload_id)

    def _cancel(self, place: External, upload_id: str) -> None:
        with s3_errors(place):
            try:
                self._connected.client.abort_multipart_upload(Bucket=place.host, Key=place.key, UploadId=upload_id)
            except ClientError as error:
                if code_of(error) not in MISSING | {"NoSuchUpload"}:
                    raise

    async def sweep(self, older_than_seconds: float) -> int:
        """Remove uploads that began so long ago; return how many."""
        return await asyncio.to_thread(self._sweep, older_than_seconds)

    def _sweep(self, seconds: float) -> int:
        removed = 0
        with s3_errors(self._folder):
            answer = self._connected.client.list_multipart_uploads(Bucket=self._folder.host, Prefix=self._folder.key)
            date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        for item in answer.get("Uploads", ()):
            if _is_older(item["Initiated"].timestamp(), date, seconds):
                self._cancel(External("s3", self._folder.host, f"/{item['Key']}"), item["UploadId"])
                removed += 1
        return removed

    def _require_ours(self, place: External) -> None:
        if place.host != self._folder.host or not place.path.startswith(self._folder.path):
            raise SourceMissing(f"there is no upload to {place}")


def _shows(name: str) -> bool:
    return bool(name) and not name.startswith(".") and is_speakable(name)


def _is_older(begun: float, date: str | None, seconds: float) -> bool:
    """Return whether it began so long ago by the server's own clock."""
    return date is not None and parsedate_to_datetime(date).timestamp() - begun > seconds
