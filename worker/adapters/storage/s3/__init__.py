"""Buckets as a storage: Amazon's S3 and what speaks like it."""

from __future__ import annotations

import posixpath
import secrets
import threading
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore.exceptions import ClientError, NoCredentialsError, PartialCredentialsError

from worker.adapters.storage.s3.client import CREDENTIALS, MISSING, code_of, make_client, s3_errors
from worker.adapters.storage.s3.ranges import fetch_spans
from worker.adapters.storage.s3.reveal import Pending, Reveal, is_same
from worker.adapters.storage.s3.roots import (
    HIDDEN,
    S3Roots,
    final_place,
    headers_of,
    hidden_place,
    is_left_over,
    require_size,
    require_whole,
)
from worker.adapters.threads import Stop, in_thread
from worker.core.attempt import job_mark
from worker.core.errors import Misconfigured, SourceMissing, StorageUnavailable
from worker.core.location import External, is_speakable
from worker.core.ports import Stat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from s3transfer.futures import TransferFuture
    from s3transfer.manager import TransferManager
    from types_boto3_s3 import S3Client

    from worker.adapters.storage.s3.client import Connect
    from worker.core.attempt import Artifact
    from worker.core.ports import Confirm
    from worker.core.spans import Span

PART_BYTES: Final = 8 * 1024 * 1024
# A server copies within itself: fewer, larger parts.
_COPY_FACTOR: Final = 4
SHOW_SECONDS: Final = 20.0


class S3Storage:
    """The scheme `s3`, inside `roots` (`s3://bucket/prefix`), through the clients that `connect` makes.

    An object appears whole or not at all, so an immutable one is uploaded under its own key. A large one with a
    fixed key waits under a hidden key beside it, and is copied by the server when it is revealed; a small one (less
    than a part, as playlists are) is put there at that moment. `destination` is where `check` writes.

    `show_seconds` is how long an answer to the request that changes a fixed key is waited for: it must be over before
    the lease is, which was renewed just before it.
    """

    schemes = frozenset({"s3"})

    def __init__(
        self,
        roots: Iterable[External],
        *,
        destination: External | None = None,
        public_url: str | None = None,
        connect: Connect = make_client,
        show_seconds: float = SHOW_SECONDS,
        part_bytes: int = PART_BYTES,
        at_once: int = 4,
    ) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._connected: dict[str, S3Client] = {}
        self._roots = S3Roots(roots)
        self._destination = destination
        self._public_url = public_url
        self._show_seconds = show_seconds
        self._part_bytes = part_bytes
        self._at_once = at_once
        self._transfer = TransferConfig(
            multipart_threshold=part_bytes, multipart_chunksize=part_bytes, max_concurrency=at_once
        )

    @property
    def _client(self) -> S3Client:
        return self._made("patient", self._connect)

    @property
    def _once(self) -> S3Client:
        return self._made("once", partial(self._connect, attempts=1, read_seconds=self._show_seconds))

    def _made(self, kind: str, connect: Callable[[], S3Client]) -> S3Client:
        # Late, for it takes 200 ms and a look at the environment that a worker without buckets need not bear.
        with self._lock:
            if kind not in self._connected:
                self._connected[kind] = connect()
            return self._connected[kind]

    def admit(self, place: External, *, writing: bool) -> External:
        """Return `place`; RefusedPath outside the roots, for a key of ours, or a folder where an object is meant."""
        return self._roots.admit(place, writing=writing)

    def admit_folder(self, folder: External) -> External:
        """Return a folder, a root too, with its slash; RefusedPath outside the roots."""
        return self._roots.admit_folder(folder)

    def url(self, place: External) -> str:
        """Return the public URL where there is one, else `s3://bucket/key`."""
        return str(place) if self._public_url is None else f"{self._public_url.rstrip('/')}/{quote(place.key)}"

    async def stat(self, place: External) -> Stat | None:
        """Return size and media type, or None."""
        self.admit(place, writing=False)
        return await in_thread(lambda _: self._stat(place))

    def _stat(self, place: External) -> Stat | None:
        with s3_errors(place):
            try:
                head = self._client.head_object(Bucket=place.host, Key=place.key)
            except ClientError as error:
                if code_of(error) in MISSING:
                    return None
                raise
        version = f"{head['ContentLength']}-{head.get('ETag', '')}"
        return Stat(head["ContentLength"], head.get("ContentType") or None, version)

    async def listing(self, folder: External) -> tuple[External, ...]:
        """Return the objects directly under a prefix, by key; SourceMissing when there is none."""
        inside = self._roots.admit_folder(folder)
        return await in_thread(lambda _: self._listing(inside))

    def _listing(self, folder: External) -> tuple[External, ...]:
        with s3_errors(folder):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=folder.host, Prefix=folder.key, Delimiter="/"
            )
            keys = [item["Key"] for page in pages for item in page.get("Contents", ()) if item["Key"] != folder.key]
        if not keys:
            raise SourceMissing(f"{folder} does not exist")
        return tuple(External("s3", folder.host, f"/{key}") for key in sorted(keys) if is_speakable(key))

    async def fetch(self, place: External, into: Path) -> Path:
        """Return `into`, a complete copy: parts in parallel, each repeated when it breaks, all of one version."""
        self.admit(place, writing=False)
        return await in_thread(lambda stop: self._fetch(place, into, stop))

    def _fetch(self, place: External, into: Path, stop: Stop) -> Path:
        found = self._stat(place)
        if found is None:
            raise SourceMissing(f"{place} does not exist")
        part = into.with_name(into.name + ".part")
        try:
            with s3_errors(place):
                into.parent.mkdir(parents=True, exist_ok=True)
                with create_transfer_manager(self._client, self._transfer) as manager:
                    future = manager.download(place.host, place.key, str(part))
                    stop.then(future.cancel)
                    future.result()
                size = part.stat().st_size
                if size != found.bytes:
                    raise StorageUnavailable(f"{place}: {size} of {found.bytes} bytes arrived")
                part.replace(into)
        finally:
            part.unlink(missing_ok=True)
        return into

    async def fetch_spans(self, place: External, version: str, spans: Sequence[Span], into: Path) -> None:
        """Write spans of an object into a file at their own offsets, all of one version."""
        self.admit(place, writing=False)
        await in_thread(lambda stop: fetch_spans(self._client, place, version, spans, into, stop))

    async def stage(self, artifacts: Sequence[Artifact]) -> None:
        """Upload immutable objects, and large ones under hidden keys, several at once.

        Those that are there already with the same size and SHA-256 are not sent again; hidden objects older than a day,
        which crashed workers left, are removed.
        """
        await in_thread(lambda stop: self._stage(artifacts, stop))

    def _stage(self, artifacts: Sequence[Artifact], stop: Stop) -> None:
        wanted = {place: artifact for artifact in artifacts if (place := self._staged(artifact)) is not None}
        there = self._listed(wanted, stop)
        missing = [
            place
            for place, artifact in wanted.items()
            if there.get(place, -1) != artifact.bytes or not is_same(self._client, place, artifact)
        ]
        with create_transfer_manager(self._client, self._transfer) as manager:
            uploads = [(place, self._upload(manager, place, wanted[place], stop)) for place in missing]
            # An error that leaves this block cancels the other uploads, and aborts their parts.
            for place, future in uploads:
                with s3_errors(place):
                    future.result()
        uploaded = self._listed(missing, stop)
        for place in missing:
            require_size(place, uploaded.get(place), wanted[place].bytes)

    def _staged(self, artifact: Artifact) -> External | None:
        """Return where the bytes are before they are revealed; None for a small object with a fixed key."""
        final = self.admit(final_place(artifact), writing=True)
        if artifact.immutable:
            return final
        return hidden_place(artifact) if artifact.bytes > self._part_bytes else None

    def _upload(self, manager: TransferManager, place: External, artifact: Artifact, stop: Stop) -> TransferFuture:
        with s3_errors(place):
            require_whole(artifact, artifact.path.stat().st_size)
            future = manager.upload(str(artifact.path), place.host, place.key, extra_args=headers_of(artifact))
        stop.then(future.cancel)
        return future

    def _listed(self, places: Iterable[External], stop: Stop) -> dict[External, int]:
        """Return the sizes of what is in the folders of `places`; hidden left-overs there are removed.

        Beside a fixed key only hidden objects are asked for: its folder may hold a library.
        """
        found: dict[External, int] = {}
        for bucket, prefix in sorted({(one.host, _prefix(one)) for one in places}):
            with s3_errors(f"s3://{bucket}/{prefix}"):
                pages = self._client.get_paginator("list_objects_v2").paginate(
                    Bucket=bucket, Prefix=prefix, Delimiter="/"
                )
                for page in pages:
                    stop.check()
                    date = page["ResponseMetadata"]["HTTPHeaders"].get("date")
                    for item in page.get("Contents", ()):
                        place = External("s3", bucket, "/" + item["Key"])
                        if is_left_over(place, item["LastModified"], date):
                            self._client.delete_object(Bucket=bucket, Key=item["Key"])
                        else:
                            found[place] = item["Size"]
        return found

    async def reveal(self, artifacts: Sequence[Artifact], confirm: Confirm) -> None:
        """Put each object at its fixed key, in this order, and check its size there.

        `confirm` is awaited before each try of the one request that readers see the effect of.
        """
        for artifact in artifacts:
            if artifact.immutable:
                place = final_place(artifact)
                found = await self.stat(place)
                require_size(place, found.bytes if found else None, artifact.bytes)
                continue
            pending = await in_thread(partial(self._pending, artifact))
            if pending is not None:
                await pending.reveal(confirm)
            await in_thread(partial(self._shown, artifact))

    def _pending(self, artifact: Artifact, stop: Stop) -> Pending | None:
        """Return what is to be shown; None where an earlier try of this attempt has done so."""
        final, staged = final_place(artifact), self._staged(artifact)
        if staged is not None and self._stat(staged) is None:
            if self._stat(final) is not None and is_same(self._client, final, artifact):
                return None
            raise StorageUnavailable(f"{final}: what was staged for it is gone")
        reveal = Reveal(self._client, self._once, _COPY_FACTOR * self._part_bytes, self._at_once)
        return reveal.pending(artifact, staged, final, stop)

    def _shown(self, artifact: Artifact, stop: Stop) -> None:
        """Check what is at the fixed key; what was staged for it goes."""
        del stop
        final, staged = final_place(artifact), self._staged(artifact)
        found = self._stat(final)
        require_size(final, found.bytes if found else None, artifact.bytes)
        if staged is not None:
            with s3_errors(staged):
                self._client.delete_object(Bucket=staged.host, Key=staged.key)

    async def discard(self, artifacts: Sequence[Artifact]) -> None:
        """Remove hidden and immutable objects."""
        await in_thread(
            lambda _: self._remove([place for artifact in artifacts if (place := self._staged(artifact)) is not None])
        )

    async def sweep(self, place: External, job_id: str) -> None:
        """Remove a job's hidden objects beside `place`, and unfinished uploads of them and of `place`."""
        await in_thread(lambda _: self._sweep(place, f"{posixpath.dirname(place.key)}/{HIDDEN}-{job_mark(job_id)}-"))

    def _sweep(self, place: External, hidden: str) -> None:
        bucket, hidden = place.host, hidden.lstrip("/")
        with s3_errors(place):
            found = self._client.list_objects_v2(Bucket=bucket, Prefix=hidden).get("Contents", ())
            for item in found:
                self._client.delete_object(Bucket=bucket, Key=item["Key"])
            for prefix in (hidden, place.key):
                for upload in self._client.list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", ()):
                    if upload["Key"] == place.key or upload["Key"].startswith(hidden):
                        self._client.abort_multipart_upload(
                            Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )

    async def delete(self, place: External) -> None:
        """Delete an object; none there is success."""
        self.admit(place, writing=False)
        await in_thread(lambda _: self._remove([place]))

    def _remove(self, places: Sequence[External]) -> None:
        # One by one: DeleteObjects needs a Content-MD5 or a checksum that not every server knows.
        for place in places:
            with s3_errors(place):
                self._client.delete_object(Bucket=place.host, Key=place.key)

    async def check(self) -> None:
        """Return if the buckets are there and the destination takes an object now.

        Misconfigured for a missing bucket or wrong credentials, StorageUnavailable for what may pass.
        """
        await in_thread(lambda _: self._check())

    def _check(self) -> None:
        for bucket in self._roots.buckets:
            with s3_errors(f"s3://{bucket}"):
                try:
                    self._client.list_objects_v2(Bucket=bucket, MaxKeys=1)
                    self._probe(bucket)
                except (NoCredentialsError, PartialCredentialsError) as error:
                    raise Misconfigured("there are no S3 credentials; set AWS_ACCESS_KEY_ID and …SECRET…") from error
                except ClientError as error:
                    if code_of(error) == "NoSuchBucket":
                        raise Misconfigured(
                            f"the bucket {bucket} does not exist: run `python -m infra provision`, or name another"
                        ) from error
                    if code_of(error) in CREDENTIALS:
                        raise Misconfigured(
                            f"the S3 server refuses our credentials ({code_of(error)}); correct AWS_ACCESS_KEY_ID"
                            " and AWS_SECRET_ACCESS_KEY"
                        ) from error
                    raise

    def _probe(self, bucket: str) -> None:
        if self._destination is None or self._destination.host != bucket:
            return
        key = self._destination.joined(f"{HIDDEN}-check-{secrets.token_hex(8)}").key
        self._client.put_object(Bucket=bucket, Key=key, Body=b"leveret")
        self._client.delete_object(Bucket=bucket, Key=key)


def _prefix(place: External) -> str:
    folder = posixpath.dirname(place.key)
    under = f"{folder}/" if folder else ""
    return f"{under}{HIDDEN}-" if place.name.startswith(HIDDEN) else under
