"""The folder of a job's outputs: admitted once the job touches a file or names the folder, and not before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.echo_plugin import EchoTask
from worker.adapters.storage.nas import NasStorage
from worker.core.errors import RefusedPath
from worker.core.location import External
from worker.core.message.dialects import decode
from worker.engine.attempt.plan import Resolved, Resolver
from worker.engine.storages import Storages
from worker.registry import Registry
from worker.tasks.cleanup import CleanupTask

if TYPE_CHECKING:
    from pathlib import Path

OUTSIDE = External("file", "", "/elsewhere/out/")
ECHO = {"module": "echo", "data": {"text": "a"}}
COPY = {"module": "cleanup", "data": {"copy": [{"source": "nas://a.mkv", "destination": "b.mkv"}]}}


async def nothing() -> frozenset[str]:
    return frozenset()


async def resolved(nas: Path, folder: External, *tasks: dict[str, Any], **more: Any) -> Resolved:
    (nas / "a.mkv").touch()
    job = decode(json.dumps({"tasks": tasks} | more).encode(), "job")
    registry = Registry({"echo": EchoTask(), "cleanup": CleanupTask()})
    resolver = Resolver(registry, Storages.of((NasStorage(nas, (nas,)),)), object())  # type: ignore[arg-type]
    return await resolver.resolve(job, folder, nothing)


async def test_a_job_that_touches_no_file_asks_the_file_system_nothing(tmp_path: Path) -> None:
    assert (await resolved(tmp_path, OUTSIDE, ECHO)).destination == OUTSIDE


@pytest.mark.parametrize("more", [{"destination": "/elsewhere/out/"}, {"keep_log": True}])
async def test_a_folder_that_a_job_names_or_its_log_goes_to_is_admitted(more: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RefusedPath):
        await resolved(tmp_path, OUTSIDE, ECHO, **more)


async def test_the_folder_of_outputs_is_admitted_and_its_outputs_replace_nothing(tmp_path: Path) -> None:
    with pytest.raises(RefusedPath):
        await resolved(tmp_path, OUTSIDE, ECHO, COPY)
    found = await resolved(tmp_path, External("file", "", f"{tmp_path}/out/"), ECHO, COPY)
    assert found.destination == External("nas", "", "/out/")
    assert found.guarded == {External("nas", "", "/out/b.mkv")}
