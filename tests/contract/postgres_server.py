"""A private PostgreSQL server for a test run: started as another user when we are root, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), default=None)


class Server:
    """One running server; `url()` makes an empty database."""

    def __init__(self, port: int, password: str, process: subprocess.Popen[bytes]) -> None:
        self.port, self.password, self.process = port, password, process

    def dsn(self, database: str) -> str:
        return f"postgresql://leveret:{self.password}@127.0.0.1:{self.port}/{database}"

    def url(self) -> str:
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.dsn(name)

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def pids(self) -> list[int]:
        """Return the postmaster and its children: a stopped postmaster alone stops no session."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [self.process.pid, *map(int, children.split())]


@contextlib.contextmanager
def running() -> Iterator[Server]:
    assert PROGRAMS is not None, "PostgreSQL is not installed: apt-get install postgresql"
    folder = Path(tempfile.mkdtemp(prefix="leveret-pg-", dir="/var/tmp"))
    owner: dict[str, object] = {}
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        owner = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}
    password, port = secrets.token_hex(16), _free_port()
    secret = folder / "password"
    secret.write_text(password)
    if owner:
        os.chown(secret, user.pw_uid, user.pw_gid)
    options = ("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--username=leveret")
    subprocess.run(
        (str(PROGRAMS / "initdb"), f"--pgdata={folder / 'data'}", f"--pwfile={secret}", *options),
        check=True, capture_output=True, cwd=folder, timeout=60, **owner,
    )  # fmt: skip
    arguments = ("-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1")
    process = subprocess.Popen(
        (str(PROGRAMS / "postgres"), "-D", str(folder / "data"), *arguments),
        cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **owner,
    )  # fmt: skip
    server = Server(port, password, process)
    try:
        _await(server)
        yield server
    finally:
        process.send_signal(3)  # SIGQUIT: nothing here is worth a checkpoint
        process.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _await(server: Server) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            server.execute("SELECT 1")
        except psycopg.OperationalError:
            assert server.process.poll() is None, "PostgreSQL ended at once"
            assert time.monotonic() < end, "PostgreSQL did not answer within 30 s"
            time.sleep(0.05)
        else:
            return
