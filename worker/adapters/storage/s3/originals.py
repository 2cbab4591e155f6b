"""Originals kept under a hidden prefix beside their key, copied by the server itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from worker.adapters.storage.hidden import UNDO_FOLDER
from worker.adapters.storage.s3.client import MISSING, LateClient, code_of, make_client, s3_errors
from worker.adapters.storage.s3.roots import MAX_KEY_BYTES, S3Roots
from worker.adapters.threads import in_thread
from worker.core.errors import SourceMissing, StorageUnavailable, VerificationFailed
from worker.core.location import External
from worker.core.ports import Stat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from types_boto3_s3 import S3Client

    from worker.adapters.storage.s3.client import Connect

# An object of up to 5 GB may be copied by one request; parts of it go side by side.
_TRANSFER: Final = TransferConfig(multipart_threshold=1 << 30, multipart_chunksize=256 << 20, max_concurrency=4)
_OF: Final = "leveret-of"
"""The metadata of a copy that names the object it was made of: another one under the same key is never taken for it."""
MAX_NAME_BYTES: Final = 255
_KEPT_HEADERS: Final = ("ContentType", "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage")


class S3Originals:
    """`worker.core.ports.originals.OriginalKeeper` for `s3`."""

    schemes = frozenset({"s3"})

    def __init__(self, roots: Iterable[External], connect: Connect = make_client) -> None:
        self._roots = S3Roots(roots)
        self._connected = LateClient(connect)

    @property
    def _client(self) -> S3Client:
        return self._connected.client

    async def keep(self, place: External, token: str, *, move: bool) -> bool:
        """Return whether the original is kept: copied whole before it is deleted."""
        self._roots.admit(place, writing=False)
        return await in_thread(lambda _: self._keep(place, token, move=move))

    def _keep(self, place: External, token: str, *, move: bool) -> bool:
        kept = _kept_place(place, token)
        found, there = self._head(place), self._head(kept)
        if found is None:
            return there is not None
        mark = f"{found['ETag']}-{found['LastModified'].timestamp():.0f}"
        if there is None:
            self._copy(place, kept, found, {**found.get("Metadata", {}), _OF: mark})
            there = self._head(kept)
        if move and there is not None and there.get("Metadata", {}).get(_OF) == mark:
            with s3_errors(place):
                self._client.delete_object(Bucket=place.host, Key=place.key)
        return True

    async def kept(self, place: External, token: str) -> Stat | None:
        """Return what is kept, or None."""
        self._roots.admit(place, writing=False)
        found = await in_thread(lambda _: self._head(_kept_place(place, token)))
        return None if found is None else Stat(found["ContentLength"], None, str(found.get("ETag", "")))

    async def put_back(self, place: External, token: str, *, replace: bool) -> bool:
        """Return whether the original is at its key again; only then is the kept copy deleted."""
        self._roots.admit(place, writing=False)
        return await in_thread(lambda _: self._put_back(place, token, replace=replace))

    def _put_back(self, place: External, token: str, *, replace: bool) -> bool:
        kept = _kept_place(place, token)
        found = self._head(kept)
        if found is None:
            return False
        if not replace and self._head(place) is not None:
            raise StorageUnavailable(f"{place}: something else has taken its place")
        plain = {name: value for name, value in found.get("Metadata", {}).items() if name != _OF}
        self._copy(kept, place, found, plain)
        self._delete(kept)
        return True

    async def drop(self, place: External, token: str) -> None:
        """Delete what is kept; nothing there is success."""
        self._roots.admit(place, writing=False)
        await in_thread(lambda _: self._delete(_kept_place(place, token)))

    async def relocate(self, place: External, target: External) -> bool:
        """Return whether the object is at `target` now; False where another one is there."""
        self._roots.admit(place, writing=False)
        self._roots.admit(target, writing=True)
        return await in_thread(lambda _: self._relocate(place, target))

    def _relocate(self, place: External, target: External) -> bool:
        found, there_now = self._head(place), self._head(target)
        if found is None:
            raise SourceMissing(f"{place} does not exist")
        mark = f"{found['ETag']}-{found['LastModified'].timestamp():.0f}"
        if there_now is None:
            self._copy(place, target, found, {**found.get("Metadata", {}), _OF: mark})
        elif there_now.get("Metadata", {}).get(_OF) != mark:
            return False
        self._delete(place)
        return True

    def _delete(self, place: External) -> None:
        with s3_errors(place):
            self._client.delete_object(Bucket=place.host, Key=place.key)

    def _head(self, place: External) -> Mapping[str, Any] | None:
        with s3_errors(place):
            try:
                return self._client.head_object(Bucket=place.host, Key=place.key)
            except ClientError as error:
                if code_of(error) in MISSING:
                    return None
                raise

    def _copy(self, source: External, target: External, head: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
        """Copy one object to another key with all that describes it; its size is checked there."""
        described = {name: head[name] for name in _KEPT_HEADERS if head.get(name)}
        described |= {"Metadata": dict(metadata), "MetadataDirective": "REPLACE"}
        with s3_errors(source):
            self._client.copy(
                {"Bucket": source.host, "Key": source.key},
                target.host,
                target.key,
                ExtraArgs={**described, "CopySourceIfMatch": head["ETag"]},
                Config=_TRANSFER,
            )
        there_now = self._head(target)
        if there_now is None or there_now["ContentLength"] != head["ContentLength"]:
            size = None if there_now is None else there_now["ContentLength"]
            raise VerificationFailed(f"{target}: {head['ContentLength']} bytes were copied, but {size} arrived")


def _kept_place(place: External, token: str) -> External:
    folder = place.path.rpartition("/")[0]
    start = f"{folder}/{UNDO_FOLDER}/{token}-"
    # Servers over a file system allow no longer name between two slashes either.
    room = min(MAX_KEY_BYTES - len(start.encode()), MAX_NAME_BYTES - len(token) - 1)
    return External("s3", place.host, start + place.name.encode()[: max(0, room)].decode(errors="ignore"))
