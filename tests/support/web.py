"""A server in this process: the application over a database of its own, asked through ASGI without a network."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Self

import httpx

from tests.support.databases import provision
from worker.adapters.sql import SqlRepository
from worker.app import serving
from worker.app.control import library, modules
from worker.control import Control
from worker.core.attempt import Artifact, Failure, Progress, Result
from worker.core.errors import BrokerUnavailable
from worker.core.message.dialects import decode
from worker.core.parts import Part, Plan, part_id, part_key
from worker.core.policy import Policy
from worker.core.ports import ClaimRequest, Granted
from worker.core.ports.parts import PlannedPart
from worker.core.record import Hardware, WorkerRecord
from worker.core.routing import DEAD_QUEUE
from worker.settings import load
from worker.web.access import Tokens, digest_of
from worker.web.application import create
from worker.web.pulse import Pulse
from worker.web.services import Services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from worker.core.attempt import Attempt
    from worker.core.message.dead_letter import DeadLetter

TOKENS = {role: f"lvt_{role}-token-of-a-test" for role in ("viewer", "operator", "admin")}


@dataclass
class Broker:
    """A broker in memory, as operators use it: what was published, and what is dead."""

    published: list[tuple[bytes, str | None, str, str]] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    away: bool = False

    async def __aenter__(self) -> Self:
        if self.away:
            raise BrokerUnavailable("the broker at 127.0.0.1:1 does not answer (Connection refused)")
        return self

    async def __aexit__(self, *ended: object) -> None:
        """Nothing is held."""

    async def publish_job(self, body: bytes, job_id: str | None, lane: str, priority: str, *_: Any, **__: Any) -> None:
        self.published.append((body, job_id, lane, priority))

    async def require_fleet(self, identity: str) -> None:
        """The broker is ours."""

    async def publish_event(self, change: Any) -> None:
        """Nobody listens."""

    async def dead_letters(self) -> AsyncIterator[DeadLetter]:
        for letter in list(self.dead):
            yield letter

    async def held(self, queue: str) -> AsyncIterator[DeadLetter]:
        for letter in ():
            yield letter

    async def replay(
        self, letter: DeadLetter, job_id: str | None, lane: str, priority: str, body: bytes | None = None
    ) -> None:
        self.published.append((body or letter.body, job_id, lane, priority))
        self.dead.remove(letter)

    async def discard(self, letter: DeadLetter) -> None:
        self.dead.remove(letter)

    async def count(self, queue: str) -> int:
        return len(self.dead) if queue == DEAD_QUEUE else 0


@dataclass
class Site:
    """A running application, its rows, its broker, and clients of each role."""

    folder: Path
    repository: SqlRepository
    services: Services
    broker: Broker
    application: Any
    tokens: bool

    def client(self, role: str | None = None, **options: Any) -> httpx.AsyncClient:
        """Return a client with the token of a role, or without one."""
        headers = ({"Authorization": f"Bearer {TOKENS[role]}"} if role else {}) | options.pop("headers", {})
        transport = httpx.ASGITransport(self.application, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", headers=headers, **options)

    async def submit(
        self, job_id: str, title: str = "", lane: str = "cpu", priority: str = "normal", module: str = "probe"
    ) -> tuple[Any, str]:
        """Make a queued row."""
        data = {"source": "nas://film.mkv"}
        message = {
            "job_id": job_id,
            "job_title": title or f"Title of {job_id}",
            "tasks": [{"module": module, "data": data}],
        }
        body = json.dumps(message).encode()
        job, digest = decode(body, job_id), hashlib.sha256(body).hexdigest()
        await self.repository.submit(job, digest, lane, priority)
        return job, digest

    async def claim(self, job_id: str, title: str = "", worker: str = "render-1") -> Attempt:
        """Make a running row."""
        job, digest = await self.submit(job_id, title)
        claim = await self.repository.claim(ClaimRequest(job, digest, worker, 300.0, "cpu", "normal"), Policy())
        assert isinstance(claim, Granted)
        return claim.attempt

    async def run(self, job_id: str, percent: float = 41.5, title: str = "") -> Attempt:
        """Make a running row with progress."""
        attempt = await self.claim(job_id, title)
        await self.repository.report(attempt, Progress(percent, "ffmpeg", 60.0, 2.0, 42.0))
        return attempt

    async def die(self, job_id: str, why: str = "film.mkv is no media", title: str = "") -> None:
        """Make a dead row."""
        attempt = await self.claim(job_id, title)
        await self.repository.bury(attempt, Failure(why, "BadInput", "render-1", 1))

    async def complete(self, job_id: str, *files: Path, title: str = "") -> None:
        """Make a completed row with these artifacts: films, and pictures of them."""
        attempt = await self.claim(job_id, title)
        kinds = {".mp4": ("file", "video/mp4"), ".jpg": ("poster", "image/jpeg")}
        made = tuple(
            Artifact(role, file, f"file://{file}", media_type, bytes=file.stat().st_size, sha256="0" * 64)
            for file in files
            for role, media_type in (kinds.get(file.suffix, kinds[".mp4"]),)
        )
        await self.repository.complete(attempt, Result(artifacts=made, total_seconds=12.5))

    async def divide(self, job_id: str, title: str = "", count: int = 3) -> None:
        """Make a divided job: its first part is made, the second is being made, the others wait."""
        await self.divide_attempt(await self.claim(job_id, title), count)

    async def divide_attempt(self, attempt: Attempt, count: int = 3) -> None:
        """Divide the job of a running attempt."""
        job_id = attempt.job.job_id
        ranges = tuple(
            Part(n, part_key("one", "frames", n * 250, n * 250 + 250), n * 250, n * 250 + 250) for n in range(count)
        )
        planned = []
        for part in ranges:
            own = part_id(job_id, part.index)
            words = f"{attempt.job.title} {part.index + 1}/{count}"
            document = {"job_id": own, "job_title": words, "tasks": [{"module": "probe", "data": {}}]}
            body = json.dumps(document | {"part": {"job": job_id, "index": part.index, "key": part.key}}).encode()
            planned.append(PlannedPart(part, decode(body, own), body, hashlib.sha256(body).hexdigest()))
        plan = Plan(0, count * 250, "one", "ffmpeg", ranges)
        await self.repository.divide(attempt, plan.document(), planned, ())
        for worker, one in zip(("render-1", "render-2"), planned, strict=False):
            request = ClaimRequest(one.job, one.digest, worker, 300.0, "cpu", "normal")
            claim = await self.repository.claim(request, Policy())
            assert isinstance(claim, Granted)
            await self.repository.report(claim.attempt, Progress(61.0, "ffmpeg", 48.0, 2.0, 9.0))
            if worker == "render-1":
                uri = f"file://{self.folder}/out/.parts/{one.part.file}"
                made = Artifact("part", self.folder, uri, "video/mp4", bytes=1, sha256="0" * 64)
                await self.repository.complete(claim.attempt, Result(artifacts=(made,)))

    async def beat(self, worker_id: str = "render-1", **values: Any) -> None:
        """Let a worker tell of itself."""
        defaults = {
            "hostname": "host",
            "pid": 1,
            "version": "0.1.0",
            "status": "idle",
            "lanes": ["cpu"],
            "hardware": Hardware(cores=2),
        }
        await self.repository.beat(WorkerRecord(worker_id=worker_id, **(defaults | values)))


@contextlib.asynccontextmanager
async def site(folder: Path, *, tokens: bool = False, **overrides: Any) -> AsyncIterator[Site]:
    """Yield an application whose files are in `folder`; with `tokens` it asks for one."""
    nas, out = folder / "nas", folder / "out"
    nas.mkdir(exist_ok=True)
    out.mkdir(exist_ok=True)
    url = provision(folder / "jobs.db")
    lines = tuple(f"{role}:{role}-name:{digest_of(token)}" for role, token in TOKENS.items()) if tokens else ()
    settings = load(
        **{
            "database_url": url, "broker_url": "amqp://127.0.0.1:1/", "nas_root": nas, "storage_url": f"file://{out}/",
            "scratch": folder / "scratch", "serve_tokens": lines, "serve_requests_per_second": 10_000,
        } | overrides
    )  # fmt: skip
    repository = SqlRepository(url)
    broker = Broker()
    views = serving.views(settings)
    uploads, multipart = serving.uploads(settings)
    readers = {scheme: reader for reader in serving.readers(settings) for scheme in reader.schemes}
    control = Control(
        repository,
        partial(_same, broker),
        modules,
        settings.offline_seconds,
        settings.retry_delays,
        cache(partial(library, settings)),
    )
    services = Services(settings, control, views, Pulse(views.changes, 0.02), readers, uploads, multipart)
    application = create(settings, services, Tokens.of(settings))
    try:
        yield Site(folder, repository, services, broker, application, tokens)
    finally:
        await services.pulse.close()
        await services.depths.close()
        await views.close()
        await repository.close()


def _same(broker: Broker) -> Any:
    return broker
