"""What the storage suites share: artifacts, and each storage with a way to look at it from outside."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from infra.local import LocalServices
from worker.adapters.storage.nas import NasStorage
from worker.adapters.storage.nas.reading import NasReader
from worker.adapters.storage.s3 import S3Storage
from worker.adapters.storage.s3.client import make_client
from worker.adapters.storage.s3.reading import S3Reader
from worker.core.attempt import Artifact
from worker.core.location import External, parse_location
from worker.core.media_types import media_type_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from types_boto3_s3 import S3Client

PART_BYTES = 5 * 1024 * 1024


def external(text: str) -> External:
    place = parse_location(text)
    assert isinstance(place, External)
    return place


@dataclass
class Maker:
    """Makes artifacts in a scratch folder of their own."""

    scratch: Path

    def __call__(
        self, place: External, content: bytes, *, role: str = "file", immutable: bool = False, attempt: str = "job.1"
    ) -> Artifact:
        path = self.scratch / attempt / hashlib.sha256(str(place).encode()).hexdigest()[:12]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        media_type = media_type_of(place.name)
        return Artifact(role, path, str(place), media_type, len(content), sha256, immutable=immutable)


class Bench(Protocol):
    """A storage under test, the folder that it writes to, and a look at what readers see."""

    storage: NasStorage | S3Storage
    reader: NasReader | S3Reader

    def place(self, key: str) -> External: ...
    def outside(self) -> External: ...
    def put(self, key: str, content: bytes) -> None: ...
    def get(self, key: str) -> bytes | None: ...
    def names(self) -> set[str]: ...
    def stamp(self, key: str) -> object: ...


@dataclass
class NasBench:
    root: Path
    storage: NasStorage = field(init=False)
    reader: NasReader = field(init=False)

    def __post_init__(self) -> None:
        self.root.mkdir()
        self.storage = NasStorage(self.root, (self.root,), destination=self.root / "jobs")
        self.reader = NasReader(self.root, (self.root,))

    def place(self, key: str) -> External:
        return external(f"nas://{key}")

    def outside(self) -> External:
        return external(f"{self.root.parent}/elsewhere.mkv")

    def put(self, key: str, content: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def get(self, key: str) -> bytes | None:
        path = self.root / key
        return path.read_bytes() if path.is_file() else None

    def names(self) -> set[str]:
        return {
            str(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if not path.is_dir() or not any(path.iterdir())
        }

    def stamp(self, key: str) -> object:
        found = (self.root / key).stat()
        return found.st_ino, found.st_mtime_ns


@dataclass
class S3Bench:
    server: S3Server
    bucket: str = field(default_factory=lambda: f"suite-{secrets.token_hex(6)}")
    storage: S3Storage = field(init=False)
    reader: S3Reader = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.server.client()
        self.client.create_bucket(Bucket=self.bucket)
        self.storage = self.through(None)
        self.reader = S3Reader((external(f"s3://{self.bucket}/library/"),), self.server.client)

    def through(self, endpoint: str | None, *, attempts: int = 5, read_seconds: float = 20.0) -> S3Storage:
        root = external(f"s3://{self.bucket}/library/")
        return S3Storage(
            (root,),
            destination=root,
            part_bytes=PART_BYTES,
            connect=partial(self._client, endpoint, attempts, read_seconds),
        )

    def _client(
        self, endpoint: str | None, usual: int, usual_seconds: float, *,
        attempts: int | None = None, read_seconds: float | None = None,
    ) -> S3Client:  # fmt: skip
        """Return a client as the storage asks for it, else as the test does; never more patient than the test."""
        seconds = min(read_seconds or usual_seconds, usual_seconds)
        return self.server.client(endpoint, attempts=attempts or usual, read_seconds=seconds)

    def place(self, key: str) -> External:
        return external(f"s3://{self.bucket}/library/{key}")

    def outside(self) -> External:
        return external(f"s3://{self.bucket}/library-of-others/a.mkv")

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"library/{key}", Body=content)

    def get(self, key: str) -> bytes | None:
        if key not in self.names():
            return None
        return self.client.get_object(Bucket=self.bucket, Key=f"library/{key}")["Body"].read()

    def names(self) -> set[str]:
        listed = self.client.list_objects_v2(Bucket=self.bucket, Prefix="library/").get("Contents", ())
        return {item["Key"].removeprefix("library/") for item in listed}

    def stamp(self, key: str) -> object:
        return self.client.head_object(Bucket=self.bucket, Key=f"library/{key}")["LastModified"]


@dataclass(frozen=True)
class S3Server:
    """A private S3 server and the credentials that were made for it."""

    endpoint: str
    access_key: str
    secret_key: str

    def client(
        self, endpoint: str | None = None, *, attempts: int = 5, read_seconds: float = 20.0, secret: str | None = None
    ) -> S3Client:
        return connected(endpoint or self.endpoint, self.access_key, secret or self.secret_key, attempts, read_seconds)


@functools.cache
def connected(endpoint: str, access_key: str, secret_key: str, attempts: int, read_seconds: float) -> S3Client:
    # Making a client costs 300 ms, and it may be shared by threads.
    return make_client(
        endpoint=endpoint,
        access_key=access_key,
        secret_key=secret_key,
        region="us-east-1",
        attempts=attempts,
        read_seconds=read_seconds,
    )


@contextmanager
def s3_running(folder: Path) -> Iterator[S3Server]:
    services = LocalServices(folder)
    services.up(("s3",))
    try:
        values = services.environment()
        yield S3Server(values["AWS_ENDPOINT_URL_S3"], values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"])
    finally:
        services.down(purge=True)


@dataclass
class Confirmations:
    """Counts the confirmations, and looks at what is visible at each one."""

    bench: Bench
    seen: list[set[str]] = field(default_factory=list)

    async def __call__(self) -> None:
        names = await asyncio.to_thread(self.bench.names)
        self.seen.append({name for name in names if "/.leveret" not in f"/{name}"})


async def publish(storage: NasStorage | S3Storage, artifacts: list[Artifact]) -> None:
    async def confirm() -> None:
        """The lease is ours."""

    await storage.stage(artifacts)
    await storage.reveal(artifacts, confirm)
