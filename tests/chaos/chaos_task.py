"""The campaign's own module: it takes time, fails as its data says, and writes one file or many."""

from __future__ import annotations

import hashlib
from typing import ClassVar

from worker import BadInput, Files, FileUse, Model, Pipeline, Task, TaskContext, ToolFailed


class ChaosParams(Model):
    """What happens."""

    seconds: float = 0.0
    permanent: bool = False
    failing_epochs: int = 0
    segments: int = 0
    name: str = "out.bin"
    size: int = 2000
    token: str = ""


class ChaosTask(Task[ChaosParams]):
    """Sleeps in a program of its own, so that a killed worker leaves one behind; then fails or writes."""

    module: ClassVar[str] = "chaos"
    params = ChaosParams

    def files(self, params: ChaosParams) -> Files:
        """Return the manifest or the file: segments live in the attempt's own folder."""
        return Files(writes=(FileUse("name", params.name),))

    async def run(self, params: ChaosParams, context: TaskContext) -> None:
        """Do what its data says; ToolFailed under the first `failing_epochs` claims, BadInput when `permanent`."""
        if params.seconds:
            (done,) = await context.run(Pipeline.of("sleep", str(params.seconds)))
            if not done.ok:
                raise ToolFailed(str(done))
        if params.token:
            await self._tell(params.token, context)
        if params.permanent:
            raise BadInput(f"this job is not meant to pass {params.token}")
        epoch = int(context.attempt_folder.removeprefix("e").partition("-")[0])
        if epoch <= params.failing_epochs:
            raise ToolFailed("this attempt is not meant to pass")
        seed = f"{context.job_id} {context.attempt_folder}".encode()
        for index in range(params.segments):
            name = f"{context.attempt_folder}/segment-{index}.bin"
            context.output(name, role="segment", immutable=True).write_bytes(_noise(seed + bytes([index]), params.size))
        role = "manifest" if params.segments else "file"
        context.output(params.name, role=role).write_bytes(_noise(seed, params.size))

    @staticmethod
    async def _tell(token: str, context: TaskContext) -> None:
        """Say a secret wherever a task can say something, as a careless plug-in would."""
        context.note("answer", {"token is": token})
        context.warn(f"the server took {token}")
        context.report(0.5)
        await context.run(Pipeline.of("ls", f"/nowhere/{token}"))


def _noise(seed: bytes, size: int) -> bytes:
    return hashlib.shake_256(seed).digest(size)
