"""The objects in a bucket, read a page at a time."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from worker.adapters.storage.hidden import HIDDEN
from worker.adapters.storage.s3.client import s3_errors
from worker.adapters.storage.s3.roots import is_left_over
from worker.core.errors import SourceMissing
from worker.core.location import External, is_speakable
from worker.core.ports.files import Found

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from types_boto3_s3 import S3Client

    from worker.adapters.threads import Stop


def walk(client: S3Client, folder: External) -> Generator[tuple[Found, ...]]:
    """Yield the objects under a prefix in batches; hidden names, also of folders, are left out."""
    with s3_errors(folder):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=folder.host, Prefix=folder.key)
        for page in pages:
            batch = tuple(
                Found(
                    External("s3", folder.host, f"/{item['Key']}"),
                    item["Size"],
                    item["LastModified"].timestamp(),
                    item["ETag"].strip('"'),
                )
                for item in page.get("Contents", ())
                if is_shown(item["Key"][len(folder.key) :])
            )
            if batch:
                yield batch


def objects_in(client: S3Client, folder: External) -> tuple[External, ...]:
    """Return the objects directly under a prefix, by key; SourceMissing when there is none."""
    with s3_errors(folder):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=folder.host, Prefix=folder.key, Delimiter="/")
        keys = [item["Key"] for page in pages for item in page.get("Contents", ()) if item["Key"] != folder.key]
    if not keys:
        raise SourceMissing(f"{folder} does not exist")
    return tuple(External("s3", folder.host, f"/{key}") for key in sorted(keys) if is_speakable(key))


def sizes_beside(client: S3Client, places: Iterable[External], stop: Stop) -> dict[External, int]:
    """Return the bytes of what is in the folders of `places`; hidden left-overs there are deleted.

    Beside a fixed key only hidden objects are asked for: its folder may hold a library.
    """
    found: dict[External, int] = {}
    for bucket, prefix in sorted({(one.host, _prefix(one)) for one in places}):
        with s3_errors(f"s3://{bucket}/{prefix}"):
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
            for page in pages:
                stop.check()
                date = page["ResponseMetadata"]["HTTPHeaders"].get("date")
                for item in page.get("Contents", ()):
                    place = External("s3", bucket, "/" + item["Key"])
                    if is_left_over(place, item["LastModified"], date):
                        client.delete_object(Bucket=bucket, Key=item["Key"])
                    else:
                        found[place] = item["Size"]
    return found


def _prefix(place: External) -> str:
    folder = posixpath.dirname(place.key)
    under = f"{folder}/" if folder else ""
    return f"{under}{HIDDEN}-" if place.name.startswith(HIDDEN) else under


def is_shown(key: str) -> bool:
    """Return whether people see an object: no part of its key is hidden, or cannot be written in a URI."""
    return all(part and not part.startswith(".") and is_speakable(part) for part in key.split("/"))
