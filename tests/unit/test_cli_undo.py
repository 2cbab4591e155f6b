"""`leveret undo` and its part of the API: listed, put back, forgotten, refused in one line."""

from __future__ import annotations

import json

import pytest

from tests.support.command_line import one_line
from tests.support.web import site
from worker.app.undoing import KeptFiles
from worker.core.ports.originals import Original
from worker.engine.attempt.originals import keep_deleted
from worker.settings import load


def test_originals_are_listed_put_back_and_forgotten(cli, tmp_path, monkeypatch):
    nas = tmp_path / "nas"
    nas.mkdir()
    monkeypatch.setenv("WORKER_NAS_ROOT", str(nas))
    assert "nothing is kept" in cli.type("undo").out
    for name in ("one", "two"):
        (nas / f"{name}.mkv").write_text(name)
        cli.completed(name)
        delete(cli, name)
    assert not list(nas.glob("*.mkv"))
    listed = json.loads(cli.type("undo", "--json").out)
    assert sorted(item["uri"] for item in listed) == ["nas://one.mkv", "nas://two.mkv"]
    assert "nas://one.mkv" in cli.type("undo").out
    assert "is put back" in cli.type("undo", "one").out
    assert (nas / "one.mkv").read_text() == "one"
    assert "it was undone before" in one_line(cli.type("undo", "one"))
    assert "is deleted for good" in cli.type("undo", "two", "--forget").out
    assert "too old" in one_line(cli.type("undo", "two"))
    assert "there is no job" in one_line(cli.type("undo", "three"))
    assert cli.type("undo", "--forget").code == 2


def delete(cli, name):
    settings = load()
    files = KeptFiles.of(settings)
    cli.ask(lambda repository: keep_deleted(repository, files.storages, name, f"nas://{name}.mkv"))


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
async def test_the_api_lists_for_viewers_undoes_for_operators_and_forgets_for_admins(tmp_path, role):
    async with site(tmp_path, tokens=True) as here, here.client(role) as client:
        for name in ("one", "two"):
            film = tmp_path / "nas" / f"{name}.mkv"
            film.write_text(name)
            await here.complete(name)
            await keep_deleted(here.repository, here.services.originals.storages, name, f"nas://{name}.mkv")
        listed = (await client.get("/api/v1/originals")).json()
        assert sorted(item["uri"] for item in listed) == ["nas://one.mkv", "nas://two.mkv"]
        undone = await client.post("/api/v1/jobs/one/undo")
        assert undone.status_code == (403 if role == "viewer" else 200)
        assert (tmp_path / "nas" / "one.mkv").exists() is (role != "viewer")
        forgotten = await client.delete("/api/v1/jobs/two/originals")
        assert forgotten.status_code == (200 if role == "admin" else 403)
        assert (await client.post("/api/v1/jobs/none/undo")).status_code == (403 if role == "viewer" else 404)


async def test_a_job_that_runs_is_not_undone(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        await here.claim("busy")
        await here.repository.plan_originals([Original("busy", "nas://a.mkv", 1, "1-1")])
        answer = await client.post("/api/v1/jobs/busy/undo")
        assert answer.status_code == 409
        assert "is running" in answer.json()["detail"]
