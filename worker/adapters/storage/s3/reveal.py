"""Giving an object its fixed key: first all that may be repeated, then one request, sent once."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from io import FileIO
from typing import TYPE_CHECKING, Final, TypeAlias

from botocore.exceptions import ClientError

from worker.adapters.storage.s3.client import MISSING, code_of, s3_errors
from worker.adapters.storage.s3.roots import SHA256_KEY, headers_of, require_whole
from worker.adapters.threads import in_thread
from worker.core.errors import OVERWRITE, LeveretError, OutputExists, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef

    from worker.adapters.threads import Stop
    from worker.core.attempt import Artifact
    from worker.core.location import External
    from worker.core.ports import Confirm

PAUSES: Final = (0.2, 0.5, 1.0, 2.0)
MAX_PARTS: Final = 10_000
Condition: TypeAlias = "dict[str, str]"
_TAKEN: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_UNKNOWN: Final = frozenset({"NotImplemented", "501"})
"""The errors of a server that has no conditions for this request."""
_BUSY: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS})


def nothing() -> None:
    """Leave all as it is."""


@dataclass(frozen=True, slots=True)
class Pending:
    """An object that one request shows to readers: `send` sends it once, `abandon` removes what was made for it."""

    send: Callable[[Stop], None]
    abandon: Callable[[], None] = nothing

    async def reveal(self, confirm: Confirm) -> None:
        """Return once the request was answered; `confirm` is awaited before each try."""
        try:
            for pause in (*PAUSES, None):
                await confirm()
                try:
                    return await in_thread(self.send)
                except StorageUnavailable as error:
                    if pause is None or not may_pass(error):
                        raise
                    await asyncio.sleep(pause)
        except BaseException:
            with contextlib.suppress(LeveretError):
                await in_thread(lambda _: self.abandon())
            raise


@dataclass(frozen=True, slots=True)
class Reveal:
    """Makes objects pending: `client` repeats what fails, `once` does not.

    A repetition that the SDK sends by itself comes seconds later, when the job may be another worker's: it would put
    an old object over the new one. So the lease is asked for before each try.
    """

    client: S3Client
    once: S3Client
    copy_bytes: int
    at_once: int

    def pending(self, artifact: Artifact, staged: External | None, final: External, stop: Stop) -> Pending:
        """Return the object as it will be shown, from scratch or from where it was staged, its parts in place."""
        if staged is None:
            with s3_errors(final):
                require_whole(artifact, artifact.path.stat().st_size)
            return Pending(partial(self._put, artifact, final))
        if artifact.bytes <= self.copy_bytes:
            return Pending(partial(self._copy, artifact, staged, final))
        return self._assembly(artifact, staged, final, stop)

    def _put(self, artifact: Artifact, final: External, stop: Stop) -> None:
        with s3_errors(final), _Body(artifact.path, stop) as body:

            def put(condition: Condition) -> None:
                body.seek(0)
                extra = headers_of(artifact) | condition
                self.once.put_object(Bucket=final.host, Key=final.key, Body=body, **extra)  # type: ignore[arg-type]

            show(self.client, artifact, final, put)

    def _copy(self, artifact: Artifact, staged: External, final: External, stop: Stop) -> None:
        del stop

        def copy(condition: Condition) -> None:
            self.once.copy_object(
                Bucket=final.host,
                Key=final.key,
                CopySource={"Bucket": staged.host, "Key": staged.key},
                # Headers are taken as they are given only when the source's are not asked for.
                MetadataDirective="REPLACE",
                **(headers_of(artifact) | condition),  # type: ignore[arg-type]
            )

        with s3_errors(final):
            show(self.client, artifact, final, copy)

    def _assembly(self, artifact: Artifact, staged: External, final: External, stop: Stop) -> Pending:
        with s3_errors(final):
            upload = self.client.create_multipart_upload(
                Bucket=final.host,
                Key=final.key,
                **headers_of(artifact),  # type: ignore[arg-type]
            )["UploadId"]

        def abandon() -> None:
            with s3_errors(final):
                self._abort(final, upload)

        try:
            with s3_errors(final):
                parts = self._parts(artifact, staged, final, upload, stop)
        except BaseException:
            abandon()
            raise
        return Pending(lambda _: self._complete(artifact, final, upload, parts), abandon)

    def _abort(self, final: External, upload: str) -> None:
        self.client.abort_multipart_upload(Bucket=final.host, Key=final.key, UploadId=upload)

    def _parts(
        self, artifact: Artifact, staged: External, final: External, upload: str, stop: Stop
    ) -> list[CompletedPartTypeDef]:
        size = max(self.copy_bytes, -(-artifact.bytes // MAX_PARTS))

        def copied(first: int) -> CompletedPartTypeDef:
            stop.check()
            number = first // size + 1
            answer = self.client.upload_part_copy(
                Bucket=final.host,
                Key=final.key,
                UploadId=upload,
                PartNumber=number,
                CopySource={"Bucket": staged.host, "Key": staged.key},
                CopySourceRange=f"bytes={first}-{min(first + size, artifact.bytes) - 1}",
            )
            return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

        with ThreadPoolExecutor(self.at_once) as pool:
            return list(pool.map(copied, range(0, artifact.bytes, size)))

    def _complete(self, artifact: Artifact, final: External, upload: str, parts: list[CompletedPartTypeDef]) -> None:
        def complete(condition: Condition) -> None:
            self.once.complete_multipart_upload(
                Bucket=final.host,
                Key=final.key,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
                **condition,  # type: ignore[arg-type]
            )

        with s3_errors(final):
            try:
                if not show(self.client, artifact, final, complete):
                    self._abort(final, upload)
            except ClientError as error:
                # An earlier try was done, and its answer lost.
                if code_of(error) != "NoSuchUpload" or not is_same(self.client, final, artifact):
                    raise


class _Body(FileIO):
    """A file whose reading ends when nobody wants it sent any more."""

    def __init__(self, path: Path, stop: Stop) -> None:
        super().__init__(path)
        self._stop = stop

    def read(self, size: int | None = -1, /) -> bytes:
        self._stop.check()
        return super().read(-1 if size is None else size) or b""


def show(client: S3Client, artifact: Artifact, final: External, send: Callable[[Condition], None]) -> bool:
    """Return whether the request that shows an artifact was sent, False where it is there already.

    It is sent on the condition under which it may be, and OutputExists where it may not.

    Asked first, for there are servers that ignore the condition; the condition, for somebody may come in between.
    """
    if artifact.replaces or standing_digest(client, final) in artifact.earlier:
        send({})
        return True
    if _is_there_already(client, artifact, final):
        return False
    try:
        send({"IfNoneMatch": "*"})
    except ClientError as error:
        if code_of(error) in _UNKNOWN:
            send({})
        elif code_of(error) in _TAKEN and _is_there_already(client, artifact, final):
            return False
        else:
            raise
    return True


def _is_there_already(client: S3Client, artifact: Artifact, final: External) -> bool:
    """Return whether the artifact is what is there, False where nothing does; OutputExists for all else."""
    standing = standing_digest(client, final)
    if standing is not None and standing != artifact.sha256:
        raise OutputExists(f"{final} exists, and this job did not make it; {OVERWRITE}")
    return standing is not None


def standing_digest(client: S3Client, place: External) -> str | None:
    """Return the SHA-256 that the object there says it has, empty where it says none; None where nothing is."""
    try:
        return str(client.head_object(Bucket=place.host, Key=place.key).get("Metadata", {}).get(SHA256_KEY, ""))
    except ClientError as error:
        if code_of(error) in MISSING:
            return None
        raise


def is_same(client: S3Client, place: External, artifact: Artifact) -> bool:
    """Return whether the object that is there says that it is this artifact."""
    with s3_errors(place):
        head = client.head_object(Bucket=place.host, Key=place.key)
    return head.get("Metadata", {}).get(SHA256_KEY) == artifact.sha256 and head["ContentLength"] == artifact.bytes


def may_pass(error: StorageUnavailable) -> bool:
    """Return whether the server, or the way to it, failed for a moment; what it refuses it refuses again."""
    cause = error.__cause__
    if not isinstance(cause, ClientError):
        return True
    status = cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _BUSY
