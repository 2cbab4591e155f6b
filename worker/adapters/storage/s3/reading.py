"""Buckets as people look at them: folders, links for browsers, and ranges that we pass on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from worker.adapters.storage.s3.client import MISSING, LateClient, code_of, make_client, s3_errors
from worker.adapters.storage.s3.listing import is_shown, walk
from worker.adapters.storage.s3.roots import S3Roots
from worker.adapters.threads import iterated
from worker.core.errors import SourceMissing, StorageUnavailable
from worker.core.location import External
from worker.core.media_types import DEFAULT, media_type_of
from worker.core.ports.files import Entry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from botocore.response import StreamingBody

    from worker.adapters.storage.s3.client import Connect
    from worker.core.ports.files import Found

CHUNK: Final = 256 * 1024


@dataclass(slots=True)
class RemoteFile:
    """An object: each read is a request of its own, for the version that was there when it was opened."""

    connected: LateClient
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
        self._connected = LateClient(partial(connect, attempts=2, read_seconds=30.0))

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
                folders += [Entry(name, is_folder=True) for name in names if is_shown(name)]
                for item in page.get("Contents", ()):
                    name = item["Key"][len(folder.key) :]
                    if is_shown(name):
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
