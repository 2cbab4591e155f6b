"""The bucket that an `s3://` storage needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from worker.core.errors import Misconfigured, StorageUnavailable

if TYPE_CHECKING:
    from types_boto3_s3.literals import BucketLocationConstraintType

    from infra.settings import ProvisionSettings

# The one region whose name the S3 API refuses as a location constraint.
FIRST_REGION: Final = "us-east-1"


def ensure_bucket(settings: ProvisionSettings) -> str:
    """Return one line on the bucket of the storage URL, made if it was missing.

    Raises Misconfigured where the credentials are refused, StorageUnavailable where nothing answers.
    """
    bucket = urlsplit(settings.storage_url).netloc
    where = settings.s3_endpoint or "S3"
    region = settings.s3_region or FIRST_REGION
    try:
        client = boto3.client(
            "s3",
            endpoint_url=settings.s3_endpoint,
            region_name=region,
            aws_access_key_id=settings.s3_access_key,
            aws_secret_access_key=settings.s3_secret_key,
            config=Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 2}),
        )
        try:
            client.head_bucket(Bucket=bucket)
        except ClientError as error:
            if _status(error) != 404:  # noqa: PLR2004 - HTTP's "not found"
                raise
        else:
            return f"storage {where}: bucket {bucket} is there"
        if region == FIRST_REGION:
            client.create_bucket(Bucket=bucket)
        else:
            # A server of one's own may have any region; the stubs know Amazon's only.
            where_to = cast("BucketLocationConstraintType", region)
            client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": where_to})
    except ClientError as error:
        raise Misconfigured(f"{where} refuses bucket {bucket} ({_code(error)}): look at AWS_ACCESS_KEY_ID") from error
    except (BotoCoreError, ValueError) as error:
        raise StorageUnavailable(f"{where} does not serve bucket {bucket}: {' '.join(str(error).split())}") from error
    return f"storage {where}: bucket {bucket} made"


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def _code(error: ClientError) -> str:
    return f"{error.response['Error'].get('Code', 'no code')}, HTTP {_status(error)}"
