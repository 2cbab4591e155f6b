"""The start of the server: what answers at once, what waits until it is imported, and what happens when that fails."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest

from tests.support.databases import provision
from tests.support.web import site
from worker.core.hook import HookCall
from worker.settings import load
from worker.web import pages
from worker.web.application import begin
from worker.web.server import _grow
from worker.web.services import open_services

MEASURED = """
import sys
from worker.web.quick_start import quick_imports
quick_imports()
import worker.web.server
print([name for name in sys.modules if name.startswith(("worker.web.api.", "worker.web.pages."))])
from pydantic import BaseModel
from fastapi.openapi.models import OpenAPI
assert not OpenAPI.__pydantic_complete__, "built before somebody asks"
OpenAPI.model_validate({"openapi": "3.1.0", "info": {"title": "One", "version": "1"}})
class Ours(BaseModel): number: int
assert Ours.__pydantic_complete__, "ours are built as ever"
"""


@pytest.mark.parametrize("path", ["/", "/login", "/healthz", "/readyz", "/metrics"])
async def test_the_first_request_is_answered_before_the_rest_is_imported(tmp_path, path):
    async with site(tmp_path) as here:
        growing, here.application = begin(here.services.settings, here.services)
        async with here.client() as client:
            waiting = asyncio.create_task(client.get("/api/v1/jobs"))
            # Nobody asks a broker here, so the server says that it is not ready; that it answers is what counts.
            assert (await client.get(path)).status_code in {200, 303, 503}
            assert not waiting.done(), "the list of jobs is not imported yet"
            await growing.grow()
            assert (await waiting).status_code == 200
            assert (await client.get("/jobs")).status_code == 200
            document = (await client.get("/api/v1/openapi.json")).json()
            assert "/api/v1/jobs" in document["paths"]


async def test_a_screen_that_cannot_be_imported_ends_the_server(tmp_path, monkeypatch):
    async with site(tmp_path) as here:
        monkeypatch.setattr(pages, "LATER", ("none_of_ours",))
        growing, _ = begin(here.services.settings, here.services)
        server = SimpleNamespace(should_exit=False, answers=asyncio.Event())
        server.answers.set()
        with pytest.raises(ModuleNotFoundError, match="none_of_ours"):
            await _grow(growing, server)
        assert server.should_exit


async def test_the_collector_works_again_once_everything_is_imported(tmp_path):
    async with site(tmp_path) as here:
        growing, _ = begin(here.services.settings, here.services)
        server = SimpleNamespace(should_exit=False, answers=asyncio.Event())
        server.answers.set()
        # What tests before left over is not this one's, and Python 3.13 says of an SQLite file that nobody closed it.
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            gc.collect()
        gc.disable()
        try:
            await _grow(growing, server)
            assert gc.isenabled()
        finally:
            gc.unfreeze()
            gc.enable()


def test_the_server_imports_neither_endpoints_nor_most_screens_before_it_answers():
    done = subprocess.run((sys.executable, "-c", MEASURED), capture_output=True, text=True, check=True, env=os.environ)
    found = {"rendering", "navigation", "now", "login"}
    assert set(eval(done.stdout)) <= {f"worker.web.pages.{name}" for name in found}  # noqa: S307 - our own words


async def test_a_server_forgets_old_calls_of_hooks_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr("worker.web.services.INTAKE_KEPT_SECONDS", -1)
    monkeypatch.setattr("worker.web.services.SWEEP_SECONDS", 0.05)
    (tmp_path / "nas").mkdir()
    settings = load(
        database_url=provision(tmp_path / "jobs.db"), broker_url="amqp://127.0.0.1:1/", nas_root=tmp_path / "nas"
    )
    async with open_services(settings) as services:
        stores = services.control.stores
        await stores.note_call(HookCall(hook="film", digest="d" * 64, event="push", outcome="submitted", subject="a"))
        async with asyncio.timeout(30):
            while await stores.hook_calls("film", 1):
                await asyncio.sleep(0.02)
