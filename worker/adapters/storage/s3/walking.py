"""All objects under a prefix, a page at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.adapters.storage.s3.client import s3_errors
from worker.core.location import External, is_speakable
from worker.core.ports.files import Found

if TYPE_CHECKING:
    from collections.abc import Generator

    from types_boto3_s3 import S3Client


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
                if _shows(item["Key"][len(folder.key) :])
            )
            if batch:
                yield batch


def _shows(key: str) -> bool:
    return all(part and not part.startswith(".") and is_speakable(part) for part in key.split("/"))
