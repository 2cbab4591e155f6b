"""A private PostgreSQL cluster on a loopback port."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

from infra.local.errors import NotInstalled, ServiceError
from infra.local.ports import LOOPBACK
from infra.local.process import Owner
from infra.local.service import Launch, inherited
from infra.local.state import Record

USER = "leveret"
DATABASE = "leveret"
START_SECONDS = 60.0
CLUSTERS = Path("/usr/lib/postgresql")
"""The folder of each version's programs on Debian."""
SERVER_USERS = ("postgres", "nobody")


class Postgres:
    """The database that several hosts may share; password logins over TCP only."""

    name = "postgres"
    ports: tuple[str, ...] = ("postgres",)
    parts: tuple[str, ...] = ("postgres",)
    # "Fast": SIGTERM would wait for the clients to leave.
    stop_signal = signal.SIGINT
    grace_seconds = 30.0

    def check(self) -> None:
        """Raises NotInstalled when a program is missing."""
        _programs()

    def start(self, launch: Launch) -> None:
        """Makes the cluster if it is new, starts the server, and returns when the database answers."""
        programs, owner, record = _programs(), _owner(), launch.record
        data = _data_folder(launch, owner)
        environment = inherited(data.parent)
        if not (data / "PG_VERSION").exists():
            _initialise(programs, launch, data, owner)
        argv = (
            str(programs / "postgres"),
            "-D",
            str(data),
            "-p",
            str(record.ports["postgres"]),
            "-c",
            f"listen_addresses={LOOPBACK}",
            # The path of a socket may have 107 characters only, and a checkout's may be longer.
            "-c",
            "unix_socket_directories=",
        )
        launch.spawn("postgres", argv, environment, folder=data, owner=owner)
        launch.wait("postgres", lambda: _accepts(record), START_SECONDS)
        _create_database(record)

    def environment(self, record: Record) -> dict[str, str]:
        """The database's URL."""
        credentials = f"{USER}:{record.secret('password')}"
        address = f"{LOOPBACK}:{record.ports['postgres']}"
        return {"WORKER_DATABASE_URL": f"postgresql://{credentials}@{address}/{DATABASE}"}

    def summary(self, record: Record) -> str:
        """The address of the database."""
        return f"postgresql://{LOOPBACK}:{record.ports['postgres']}/{DATABASE} (user {USER})"

    def sweep(self, record: Record) -> None:
        """Nothing: a pid file that is left behind is recognised by the next start."""

    def purge(self, record: Record) -> None:
        """Removes a cluster that had to live outside the state directory."""
        elsewhere = record.options.pop("elsewhere", None)
        if elsewhere is not None:
            shutil.rmtree(elsewhere, ignore_errors=True)


def _programs() -> Path:
    clusters = sorted(CLUSTERS.glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if clusters:
        return clusters[-1].parent
    on_path = shutil.which("postgres")
    if on_path is None:
        raise NotInstalled("postgres", packages=("postgresql",), switches=("POSTGRES=1",))
    return Path(on_path).resolve().parent


def _owner() -> Owner | None:
    """Somebody else, if we are root: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in SERVER_USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return Owner(user.pw_uid, user.pw_gid)
    raise ServiceError(f"PostgreSQL refuses to run as root, and there is no user {' or '.join(SERVER_USERS)}")


def _data_folder(launch: Launch, owner: Owner | None) -> Path:
    """The folder of the cluster: the state directory, or /var/tmp if the server's user cannot get there."""
    elsewhere = launch.record.options.get("elsewhere")
    if elsewhere is not None and Path(elsewhere).is_dir():
        return Path(elsewhere) / "data"
    home = launch.folder
    if owner is not None:
        if not all(parent.stat().st_mode & 0o001 for parent in home.parents):
            # A checkout below /root, whose mode is 0700.
            home = Path(tempfile.mkdtemp(prefix="leveret-postgres-", dir="/var/tmp"))
            launch.record.options["elsewhere"] = str(home)
        home.chmod(0o711)
    data = home / "data"
    data.mkdir(mode=0o700, exist_ok=True)
    if owner is not None:
        os.chown(data, owner.user_id, owner.group_id)
    return data


def _initialise(programs: Path, launch: Launch, data: Path, owner: Owner | None) -> None:
    # A file of the server's user: the standard input of another user's process may not be opened by name.
    password = data.parent / "password"
    password.touch(mode=0o600)
    password.write_text(launch.record.secret("password") + "\n")
    if owner is not None:
        os.chown(password, owner.user_id, owner.group_id)
    argv = (
        str(programs / "initdb"),
        f"--pgdata={data}",
        f"--username={USER}",
        "--auth=scram-sha-256",
        f"--pwfile={password}",
        "--encoding=UTF8",
        # Sorts by code point on every machine, whatever languages are installed.
        "--locale=C",
        # The cluster is new: after a power cut it is made again.
        "--no-sync",
    )
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=inherited(data.parent),
        cwd=data,
        user=owner.user_id if owner else None,
        group=owner.group_id if owner else None,
        extra_groups=() if owner else None,
        check=False,
        timeout=120,
    )
    password.unlink()
    if done.returncode != 0:
        reason = " ".join(done.stderr.split()) or "it said nothing"
        raise ServiceError(f"initdb ended with exit code {done.returncode}: {reason}")


def _connect(record: Record, database: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host=LOOPBACK,
        port=record.ports["postgres"],
        user=USER,
        password=record.secret("password"),
        dbname=database,
        connect_timeout=5,
        autocommit=True,
    )


def _accepts(record: Record) -> bool:
    try:
        with _connect(record, "postgres"):
            return True
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise ServiceError(
                f"postgres refuses the user {USER} of state.json: its data is another's; "
                "run `python -m infra down --purge`"
            ) from error
        return False


def _create_database(record: Record) -> None:
    with _connect(record, "postgres") as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
        if found is None:
            connection.execute(f"CREATE DATABASE {DATABASE}")
