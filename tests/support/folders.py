"""A watched folder in the test's own process: its rows, its files, and servers that look at it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from tests.support.databases import provision
from tests.support.web import Broker
from worker.adapters.sql import SqlRepository
from worker.adapters.sql.schema import moment
from worker.adapters.sql.schema.intake import folder_files, folders
from worker.app.control import assembled
from worker.app.folder_files import WatchedFiles
from worker.control.intake.folders import put_folder
from worker.control.intake.templates import put_template
from worker.control.intake.watching import OneFolder
from worker.core.attempt import Artifact, Result
from worker.core.message.dialects import decode
from worker.core.policy import Policy
from worker.core.ports import ClaimRequest
from worker.settings import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from worker.control import Control
    from worker.settings import Settings

TEMPLATE = {
    "job": {"job_title": "{{ source.name }}", "tasks": [{"module": "probe", "data": {"source": "{{ source.uri }}"}}]}
}


@dataclass
class Inbox:
    """A folder `inbox` that is watched, and the broker that its jobs come to."""

    root: Path
    settings: Settings
    control: Control
    files: WatchedFiles
    broker: Broker
    names: list[str] = field(default_factory=list)

    @property
    def repository(self) -> SqlRepository:
        return self.control.stores  # type: ignore[return-value]

    def server(self, owner: str = "one", name: str = "inbox") -> OneFolder:
        """Return a server that looks at the folder when a test lets it."""
        return OneFolder(self.control, self.files, owner, name)

    async def put(self, name: str = "inbox", **values: Any) -> None:
        """Store the folder."""
        document = {"place": f"nas://{name}/", "template": "look", "settle_seconds": 3600} | values
        await put_folder(self.control, self.files, name, document)

    def drop(self, name: str, content: bytes = b"a film", folder: str = "inbox") -> Path:
        """Put a file into the folder."""
        path = self.root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    async def settle(self, **where: str) -> None:
        """Let all files have stood still for two hours."""
        statement = update(folder_files).values(still_since=moment(-7200))
        for column, value in where.items():
            statement = statement.where(folder_files.c[column] == value)
        await self.repository._database.write(lambda connection: connection.execute(statement))

    async def lose_lease(self) -> None:
        """Let the lease of whoever looks at a folder run out."""
        await self.repository._database.write(lambda c: c.execute(update(folders).values(lease_until=moment(-1))))

    async def taken(self, server: OneFolder | None = None) -> None:
        """Let one server look, wait, and look again."""
        server = server or self.server()
        await look(server)
        await self.settle()
        await look(server)

    async def states(self, name: str = "inbox") -> dict[str, str]:
        """Return the state of each file by its path."""
        return {one.path: one.state for one in await self.repository.folder_files(name, None, 1000)}

    async def reasons(self, name: str = "inbox") -> dict[str, str | None]:
        """Return why by path."""
        return {one.path: one.reason for one in await self.repository.folder_files(name, None, 1000)}

    async def complete(self, job_id: str, *made: str, size: int = 3) -> Any:
        """Let a worker complete a job; with `made` it only announces that, and the end is the test's."""
        body = next(body for body, name, *_ in self.broker.published if name == job_id)
        record = await self.repository.job(job_id)
        request = ClaimRequest(
            decode(body, job_id), hashlib.sha256(body).hexdigest(), "w", 300.0, record.lane, record.priority
        )
        claim = await self.repository.claim(request, Policy())
        artifacts = tuple(Artifact("file", self.root, uri, "video/mp4", size, "0" * 64) for uri in made)
        if made:
            await self.repository.announce(claim.attempt, list(made))
            return claim.attempt, Result(artifacts)
        await self.repository.complete(claim.attempt, Result(artifacts))
        return claim.attempt, Result(artifacts)

    @property
    def titles(self) -> list[str]:
        """Return what was published, by the names of the sources."""
        return sorted(json.loads(body)["job_title"] for body, *_ in self.broker.published)


async def look(server: OneFolder) -> None:
    """Let a server look once, without what it waits for afterwards."""
    stored = await server.control.stores.folder(server.name)
    assert stored is not None
    if stored.paused or not await server._hold_lease():
        return
    try:
        count = await server.look(stored.folder)
        await server._turn(stored.folder)
    except Exception as error:  # noqa: BLE001 - as the round says it
        await server._note(None, str(error))
    else:
        await server._note(count, None)


@asynccontextmanager
async def inbox(folder: Path, **overrides: Any) -> AsyncIterator[Inbox]:
    """Yield a NAS with an empty inbox and a template `look`."""
    root = folder / "nas"
    (root / "inbox").mkdir(parents=True)
    url = provision(folder / "jobs.db")
    settings = load(
        **{
            "database_url": url, "broker_url": "amqp://127.0.0.1:1/", "nas_root": root,
            "storage_url": "nas://out/", "scratch": folder / "scratch",
        } | overrides
    )  # fmt: skip
    repository = SqlRepository(url)
    broker = Broker()
    control = replace(assembled(settings, repository), broker=lambda: broker)
    await put_template(control, "look", TEMPLATE)
    try:
        yield Inbox(root, settings, control, WatchedFiles.of(settings, repository), broker)
    finally:
        await repository.close()


async def until(condition: Any, seconds: float = 20.0) -> Any:
    """Return what `condition` returns once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.02)
    return found
