"""The checks of buckets that `doctor` and a worker at its start make."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError, NoCredentialsError, PartialCredentialsError

from worker.adapters.storage.hidden import HIDDEN
from worker.adapters.storage.s3.client import CREDENTIALS, LateClient, code_of, s3_errors
from worker.core.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterable

    from types_boto3_s3 import S3Client

    from worker.core.location import External


def check_buckets(connected: LateClient, buckets: Iterable[str], destination: External | None) -> None:
    """Return if each bucket can be listed, and `destination` takes an object, which is deleted again.

    Misconfigured for a missing bucket or wrong credentials, StorageUnavailable for what may pass.
    """
    for bucket in buckets:
        with s3_errors(f"s3://{bucket}"):
            try:
                connected.client.list_objects_v2(Bucket=bucket, MaxKeys=1)
                if destination is not None and destination.host == bucket:
                    _put_and_delete(connected.client, destination)
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


def _put_and_delete(client: S3Client, folder: External) -> None:
    key = folder.joined(f"{HIDDEN}-check-{secrets.token_hex(8)}").key
    client.put_object(Bucket=folder.host, Key=key, Body=b"leveret")
    client.delete_object(Bucket=folder.host, Key=key)
