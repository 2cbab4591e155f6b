"""The places that jobs may touch in buckets, and how an object is named, described and judged there."""

from __future__ import annotations

import hashlib
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from worker.adapters.storage.hidden import HIDDEN, LEFT_OVER_SECONDS
from worker.core.errors import RefusedPath, VerificationFailed
from worker.core.location import External, parse_location
from worker.core.media_types import DEFAULT, cache_control_of, media_type_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from worker.core.attempt import Artifact

MAX_KEY_BYTES: Final = 1024
SHA256_KEY: Final = "sha256"


class S3Roots:
    """The prefixes (`s3://bucket/prefix`) that jobs may touch."""

    def __init__(self, roots: Iterable[External]) -> None:
        self._roots = tuple(roots)

    @property
    def buckets(self) -> list[str]:
        """Return the names of the buckets."""
        return sorted({root.host for root in self._roots})

    def admit(self, place: External, *, writing: bool) -> External:
        """Return `place`; RefusedPath outside the roots, for a key of ours, or a folder where an object is meant."""
        if place.is_folder and not writing:
            raise RefusedPath(f"{place} names a folder, where an object is expected")
        return self._admit(place, place)

    def admit_folder(self, folder: External) -> External:
        """Return a folder, a root too, with its slash; RefusedPath outside the roots, which names the folder."""
        inside = External("s3", folder.host, folder.path.rstrip("/") + "/")
        # A root itself is no place below a root: a name inside it is.
        self._admit(inside.joined("x"), folder)
        return inside

    def _admit(self, place: External, named: External) -> External:
        """Return `place`; errors are about what people have `named`."""
        if not any(_holds(root, place) for root in self._roots):
            allowed = ", ".join(map(str, self._roots)) or "none (WORKER_ROOTS)"
            raise RefusedPath(f"{named} is not inside the prefixes that jobs may touch: {allowed}")
        if len(place.key.encode()) > MAX_KEY_BYTES:
            raise RefusedPath(f"{str(named)[:100]}…: a key has at most {MAX_KEY_BYTES} bytes")
        if any(part.startswith(HIDDEN) for part in place.key.split("/")):
            raise RefusedPath(f"{named}: names that begin with {HIDDEN} are the workers' own")
        return place


def _holds(root: External, place: External) -> bool:
    above = root.path.rstrip("/") + "/"
    return place.scheme == "s3" and place.host == root.host and place.path.startswith(above) and bool(place.key)


def final_place(artifact: Artifact) -> External:
    """Return where an artifact goes."""
    place = parse_location(artifact.uri)
    if not isinstance(place, External):
        raise RefusedPath(f"{artifact.uri} is no s3://bucket/key")
    return place


def hidden_place(artifact: Artifact) -> External:
    """Return where its bytes may wait: beside the fixed key, and the same for a repeated upload of the same file.

    The staged path is in it, for it holds job and epoch: two attempts never share, nor remove, a hidden object.
    """
    final = final_place(artifact)
    token = hashlib.sha256(f"{artifact.path}\0{artifact.sha256}\0{final.key}".encode()).hexdigest()[:24]
    return External("s3", final.host, f"{final.path.rpartition('/')[0]}/{HIDDEN}-{artifact.mark}-{token}")


def headers_of(artifact: Artifact) -> dict[str, object]:
    """Return the content type, cache rule and SHA-256 that an object is stored with."""
    known = artifact.media_type not in {"", DEFAULT}
    media_type = artifact.media_type if known else media_type_of(artifact.uri)
    return {
        "ContentType": media_type,
        "CacheControl": cache_control_of(artifact.role, media_type, immutable=artifact.immutable),
        "Metadata": {SHA256_KEY: artifact.sha256},
    }


def require_whole(artifact: Artifact, found: int) -> None:
    """Return if the staged file is still as long as it was when it was proved; VerificationFailed otherwise."""
    if found != artifact.bytes:
        raise VerificationFailed(f"{artifact.path.name} was {artifact.bytes} bytes, and is {found} now")


def require_size(place: External, found: int | None, wanted: int) -> None:
    """Return if `found` bytes are what was sent; VerificationFailed otherwise."""
    if found != wanted:
        stored = "nothing" if found is None else f"{found} bytes"
        raise VerificationFailed(f"{place}: {wanted} bytes were sent, and {stored} is there")


def is_left_over(place: External, modified: datetime, server_date: str | None) -> bool:
    """Return whether a hidden object is so old, by the server's own clock, that nobody can be waiting for it."""
    if not place.name.startswith(HIDDEN + "-") or server_date is None:
        return False
    return (parsedate_to_datetime(server_date) - modified).total_seconds() > LEFT_OVER_SECONDS
