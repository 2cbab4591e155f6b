"""The how-tos "Watch a folder" and "Re-render on push", typed as they stand."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.folders import look
from tests.support.media import clip
from tests.support.web import Broker
from worker.adapters.sql import SqlRepository
from worker.adapters.sql.schema import moment
from worker.adapters.sql.schema.intake import folder_files
from worker.app import serving
from worker.app.control import assembled
from worker.app.folder_files import WatchedFiles
from worker.control.intake.watching import OneFolder
from worker.settings import load
from worker.web.access import Tokens
from worker.web.application import create
from worker.web.pulse import Pulse
from worker.web.services import Services

if TYPE_CHECKING:
    from tests.support.command_line import CommandLine

PAGES = Path(__file__).parents[2] / "docs" / "how-to"


def commands(page: str) -> list[str]:
    """Return the lines of a page's shell examples."""
    text = (PAGES / f"{page}.md").read_text()
    blocks = re.findall(r"(?m)^```sh\n((?:.*\n)*?)```$", text)
    return [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def documents(page: str) -> list[dict]:
    text = (PAGES / f"{page}.md").read_text()
    return [json.loads(block) for block in re.findall(r"(?m)^```json\n((?:.*\n)*?)```$", text)]


def type_line(cli: CommandLine, line: str, monkeypatch):
    """Type one line; `echo … | leveret … -` writes what is echoed into a file first."""
    if line.startswith("echo "):
        said, _, command = line.partition(" | ")
        (text,) = shlex.split(said)[1:]
        words = shlex.split(command)[1:]
        words[words.index("-")] = cli.write("said.json", text)
    else:
        words = shlex.split(line)[1:]
    return cli.type(*words)


@pytest.fixture
def nas(cli, tmp_path, monkeypatch):
    # The shipped templates are of the real modules.
    monkeypatch.setattr("worker.app.control.modules", real_modules)
    root = tmp_path / "nas"
    (root / "inbox").mkdir(parents=True)
    monkeypatch.setenv("WORKER_NAS_ROOT", str(root))
    monkeypatch.setenv("WORKER_STORAGE_URL", "nas://out")
    return root


def real_modules():
    from worker.app.components import registry  # noqa: PLC0415 - every plug-in: only what needs it pays

    return registry()


def serve(cli, work):
    """Return what `work` returns, given a server's parts over the rows of the command line."""

    async def conversation(_repository):
        settings = load()
        repository = SqlRepository(cli.database_url)
        broker = Broker()
        control = replace(assembled(settings, repository), broker=lambda: broker, modules=real_modules)
        try:
            return await work(settings, control, broker)
        finally:
            await repository.close()

    return cli.ask(conversation)


def test_the_page_on_watched_folders_works_as_written(cli, nas, monkeypatch):
    lines = commands("watch-a-folder")
    assert lines[0].startswith("leveret folders put inbox nas://inbox --template web-mp4")
    answer = type_line(cli, lines[0], monkeypatch)
    assert answer.code == 0, answer.err
    clip(nas / "inbox" / "film.mkv", seconds=1)

    async def watch(settings, control, broker):
        server = OneFolder(control, WatchedFiles.of(settings, control.stores), "one", "inbox")
        await look(server)
        statement = folder_files.update().values(still_since=moment(-60))
        await control.stores._database.write(lambda connection: connection.execute(statement))
        await look(server)
        # What the template makes lands in the very folder, in `web/`, and is not taken.
        return [json.loads(body) for body, *_ in broker.published]

    (job,) = serve(cli, watch)
    assert job["tasks"][0]["data"]["sources"] == ["nas://inbox/film.mkv"]
    shown = [type_line(cli, line, monkeypatch) for line in lines if line.startswith("leveret folders ")]
    assert [answer.code for answer in shown] == [0] * len(shown)
    assert "submitted" in cli.type("folders", "files", "inbox").out
    (document,) = documents("watch-a-folder")
    assert cli.type("folders", "put", "inbox", cli.write("inbox.json", json.dumps(document))).code == 0
    assert json.loads(cli.type("folders", "get", "inbox").out)["afterwards"] == "move"


def signed(body: bytes, secret: str) -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}", "X-GitHub-Event": "push"}


def test_the_page_on_re_rendering_works_as_written(cli, nas, monkeypatch):
    lines = commands("re-render-on-push")
    (several,) = documents("re-render-on-push")
    cli.write("all-of-it.json", json.dumps(several))
    monkeypatch.chdir(cli.folder)
    put = [line for line in lines if line.startswith(("echo ", "leveret templates put "))]
    said = [type_line(cli, line, monkeypatch) for line in put]
    assert [answer.code for answer in said] == [0, 0, 0, 0], said
    secret, of_several = (said[index].out.rpartition(": ")[2].strip() for index in (0, 2))
    body = json.dumps(
        {
            "ref": "refs/heads/main", "after": "1" * 40,
            "repository": {
                "name": "films", "full_name": "anna/films", "default_branch": "main",
                "clone_url": "https://example.org/anna/films.git",
            },
        }
    ).encode()  # fmt: skip

    async def push(settings, control, broker):
        views = serving.views(settings)
        services = Services(settings, control, views, Pulse(views.changes, 0.02))
        application = create(settings, services, Tokens.of(settings))
        transport = httpx.ASGITransport(application)
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
                calls = (("film", secret), ("film", secret), ("all-of-it", of_several))
                answers = [
                    await client.post(f"/api/v1/hooks/{name}", content=body, headers=signed(body, known))
                    for name, known in calls
                ]
        finally:
            await services.pulse.close()
            await services.depths.close()
            await views.close()
        return answers, [json.loads(body) for body, *_ in broker.published]

    answers, jobs = serve(cli, push)
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert answers[0].json()["job_id"] == answers[1].json()["job_id"]
    one, all_of_it = (job["tasks"][0]["data"] for job in jobs)
    assert one["repo_url"] == "https://example.org/anna/films.git"
    assert all_of_it == several["job"]["tasks"][0]["data"]
    assert "submitted" in cli.type("hooks", "calls", "film").out
