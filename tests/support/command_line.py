"""Where tests type commands: a folder with its own settings and database, and the rows behind."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from worker.adapters.sql import SqlRepository
from worker.cli import call
from worker.core.attempt import Failure, Result
from worker.core.message.dialects import decode
from worker.core.policy import Policy
from worker.core.ports import ClaimRequest, Granted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest

    from worker.core.attempt import Attempt
    from worker.core.record import JobRecord


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class CommandLine:
    """Where somebody types commands, and the rows behind."""

    folder: Path
    database_url: str
    plugins: Path
    capture: pytest.CaptureFixture[str]

    def type(self, *arguments: str) -> Answer:
        """Run a command in this process."""
        self.capture.readouterr()
        code = call(list(arguments))
        said = self.capture.readouterr()
        return Answer(code, said.out, said.err)

    def ask(self, question: Callable[[SqlRepository], Awaitable[object]]) -> object:
        """Return what the database answers."""

        async def conversation() -> object:
            repository = SqlRepository(self.database_url)
            try:
                return await question(repository)
            finally:
                await repository.close()

        return asyncio.run(conversation())

    def write(self, name: str, text: str | bytes) -> str:
        """Put a file here; return its name."""
        (self.folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return name

    def record(self, job_id: str) -> JobRecord | None:
        """Return a job's row."""
        return self.ask(lambda repository: repository.job(job_id))

    def insert(self, job_id: str, body: bytes | None = None) -> bytes:
        """Make a queued row, and return the body that its digest is of."""
        body = body or message(job_id)
        digest = hashlib.sha256(body).hexdigest()
        self.ask(lambda repository: repository.submit(decode(body, job_id), digest, "cpu", "low"))
        return body

    def claimed(self, job_id: str, body: bytes) -> Attempt:
        """Take the job as a worker does; it is running then."""
        digest = hashlib.sha256(body).hexdigest()
        request = ClaimRequest(decode(body, job_id), digest, "a-worker", 30.0, "cpu", "low")
        claim = self.ask(lambda repository: repository.claim(request, Policy()))
        assert isinstance(claim, Granted), claim
        return claim.attempt

    def completed(self, job_id: str) -> bytes:
        """Make a completed job; return its body."""
        body = self.insert(job_id)
        attempt = self.claimed(job_id, body)
        self.ask(lambda repository: repository.complete(attempt, Result(total_seconds=1.5)))
        return body

    def died(self, job_id: str, why: str = "ffmpeg exited 1 after 3 s") -> bytes:
        """Make a dead job; return its body."""
        body = self.insert(job_id)
        attempt = self.claimed(job_id, body)
        self.ask(lambda repository: repository.bury(attempt, Failure(why, "ToolFailed", "a-worker", 1)))
        return body

    def environment(self) -> dict[str, str]:
        """Return the environment for a command in a process of its own."""
        here = str(Path(__file__).parent.parent)
        return dict(os.environ) | {"PYTHONPATH": os.pathsep.join((str(self.plugins), here))}


def message(job_id: str, text: str = "hello") -> bytes:
    """Return a canonical message."""
    task = f'{{"module": "echo", "data": {{"text": "{text}"}}}}'
    return f'{{"job_id": "{job_id}", "job_title": "Title of {job_id}", "tasks": [{task}]}}'.encode()


def one_line(answer: Answer, code: int = 1) -> str:
    """Return the one line that a command which failed with `code` has said."""
    assert answer.code == code, answer
    assert answer.out == ""
    (line,) = answer.err.splitlines()
    assert line.startswith("leveret: ")
    return line
