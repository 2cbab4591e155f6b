"""Uploads of browsers into a bucket, part by part: the bytes pass us by."""

from __future__ import annotations

import asyncio
import secrets
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from worker.adapters.storage.s3.client import NO_UPLOAD, LateClient, code_of, make_client, s3_errors
from worker.core.errors import InvalidJob, Problem, SourceMissing, VerificationFailed
from worker.core.location import External
from worker.core.media_types import media_type_of
from worker.core.ports.files import MultipartUpload
from worker.core.upload_name import safe_name

if TYPE_CHECKING:
    from worker.adapters.storage.s3.client import Connect

PART_BYTES: Final = 16 << 20
MAX_PARTS: Final = 10_000
LINK_SECONDS: Final = 6 * 3600
"""The seconds in which a browser may PUT one part after it asked for its address."""


class S3Uploads:
    """`worker.core.ports.files.MultipartStore` in `folder` below the first root."""

    def __init__(self, root: External, folder: str, *, most_bytes: int, connect: Connect = make_client) -> None:
        self._folder = External("s3", root.host, f"{root.path.rstrip('/')}/{folder}/")
        self._most_bytes = most_bytes
        self._connected = LateClient(partial(connect, attempts=2, read_seconds=30.0))

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
                if code_of(error) in NO_UPLOAD:
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
                if code_of(error) not in NO_UPLOAD:
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


def _is_older(begun: float, date: str | None, seconds: float) -> bool:
    """Return whether it began so long ago by the server's own clock."""
    return date is not None and parsedate_to_datetime(date).timestamp() - begun > seconds
