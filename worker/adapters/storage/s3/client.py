"""The S3 client that all of us use, and what its errors are called here."""

from __future__ import annotations

import concurrent.futures
import errno
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
)
from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError

from worker.core.errors import (
    DiskFull,
    Interrupted,
    LeveretError,
    Misconfigured,
    SourceMissing,
    StorageUnavailable,
    VerificationFailed,
)
from worker.core.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from types_boto3_s3 import S3Client

MISSING: Final = frozenset({"NoSuchKey", "404", "NotFound"})
NO_UPLOAD: Final = MISSING | {"NoSuchUpload"}
CREDENTIALS: Final = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AuthorizationHeaderMalformed"}
)
_FORBIDDEN: Final = frozenset({"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "AccountProblem"})
_FULL: Final = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "507"})
_CHANGED: Final = frozenset({"PreconditionFailed", "412"})


class Connect(Protocol):
    """Makes a client."""

    def __call__(self, *, attempts: int = ..., read_seconds: float = ...) -> S3Client:
        """Return a client that sends a request so often, and waits so long for each answer."""


class LateClient:
    """A client that is made when it is first needed: it takes 200 ms and a look at the environment."""

    def __init__(self, connect: Callable[[], S3Client]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._client: S3Client | None = None

    @property
    def client(self) -> S3Client:
        """Return the client, always the same one."""
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client


def make_client(
    *,
    endpoint: str | None = None,
    access_key: str | None = None,
    secret_key: str | None = None,
    region: str | None = None,
    connect_seconds: float = 5.0,
    read_seconds: float = 60.0,
    attempts: int = 5,
    connections: int = 16,
) -> S3Client:
    """Return a client; what is None comes from the AWS SDK's own environment and files.

    Misconfigured when the endpoint is no URL.
    """
    config = Config(
        connect_timeout=connect_seconds,
        read_timeout=read_seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=connections,
        tcp_keepalive=True,
        # Links for browsers are signed the old way by default, which servers other than Amazon's check otherwise.
        signature_version="s3v4",
        # boto3 1.36 and later send CRC32 in chunk trailers by default, which S3 servers other than Amazon's refuse
        # or store as content. Sizes are checked after every upload, and our own SHA-256 goes with the object.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name=region,
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        raise Misconfigured(f"S3 cannot be set up from AWS_*: {redact(str(error))}") from error


@contextmanager
def s3_errors(place: object) -> Iterator[None]:
    """Yield nothing; an error of the SDK, or of the local disk beside it, becomes ours, `place` its subject.

    Wrong credentials and a missing bucket are StorageUnavailable here: `check` says them as Misconfigured.
    """
    try:
        yield
    except ClientError as error:
        raise _refused(error, place) from error
    except EndpointConnectionError as error:
        raise StorageUnavailable(f"{place}: the S3 server does not answer") from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StorageUnavailable(f"{place}: there are no AWS credentials") from error
    except BotoCoreError as error:
        raise StorageUnavailable(f"{place}: {redact(str(error))}") from error
    except (RetriesExceededError, S3DownloadFailedError) as error:
        # The first is an answer that broke off again and again, the second another version under the same key.
        cause = getattr(error, "last_exception", None) or error
        raise StorageUnavailable(f"{place} could not be read to its end: {redact(str(cause))}") from error
    except concurrent.futures.CancelledError as error:
        raise Interrupted(f"{place}: the transfer was stopped") from error
    except FileNotFoundError as error:
        raise VerificationFailed(f"{place}: the file is gone from scratch before it was published") from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFull(f"{place}: no space is left for its copy in scratch") from error
        raise StorageUnavailable(f"{place}: {error.strerror or error}") from error


def code_of(error: ClientError) -> str:
    """Return the S3 error code, or the HTTP status where the answer had no body (HEAD)."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _refused(error: ClientError, place: object) -> LeveretError:
    code = code_of(error)
    # The server's own words may repeat the string it signed, and the key id: only the code is shown.
    if code in MISSING:
        return SourceMissing(f"{place} does not exist")
    if code == "NoSuchBucket":
        return StorageUnavailable(f"{place}: there is no such bucket")
    if code in CREDENTIALS:
        return StorageUnavailable(f"{place}: the S3 server does not accept our credentials ({code})")
    if code in _FORBIDDEN:
        return StorageUnavailable(f"{place}: the S3 server forbids it ({code}); our credentials lack the permission")
    if code in _FULL:
        return DiskFull(f"{place}: the S3 server has no space left ({code})")
    if code in _CHANGED:
        return StorageUnavailable(f"{place} changed while it was read")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return StorageUnavailable(f"{place}: {error.operation_name} failed with {code or 'no code'} (HTTP {status})")
