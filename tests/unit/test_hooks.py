"""Hooks: a push, an import or a plain call becomes one job, and only for who knows the secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import pytest
from sqlalchemy import delete, update

from tests.support.command_line import one_line
from tests.support.web import site
from worker.adapters.sql.schema import jobs
from worker.adapters.sql.schema.intake import hook_calls
from worker.control import NotFound
from worker.control.intake.hooks import put_hook
from worker.control.intake.templates import put_template
from worker.core.errors import InvalidJob
from worker.core.hook import Hook, request_of, value_at
from worker.core.signature import HEADER, TOLERANCE_SECONDS, signature

SHARED = "what both sides of a test know"
FILM = {
    "variables": {"repo_url": {"example": "https://example.org/a/b.git"}, "title": "a film"},
    "job": {
        "job_title": "{{ title }}",
        "tasks": [{"module": "gource", "data": {"repo_url": "{{ repo_url }}", "output": "mp4"}}],
    },
}
LOOK = {
    "job": {"job_title": "{{ source.name }}", "tasks": [{"module": "probe", "data": {"source": "{{ source.uri }}"}}]}
}
COMMITS = ("1" * 40, "2" * 40)


def push(commit=COMMITS[0], ref="refs/heads/main", **values):
    repository = {
        "full_name": "anna/films", "name": "films", "clone_url": "https://example.org/anna/films.git",
        "default_branch": "main",
    }  # fmt: skip
    return {"ref": ref, "after": commit, "deleted": False, "repository": repository} | values


def signed(body: bytes, secret=SHARED, event="push", **headers):
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-GitHub-Event": event, "X-Hub-Signature-256": f"sha256={digest}", "X-GitHub-Delivery": "1"} | headers


async def store(here, name="film", **values):
    await put_template(here.services.control, "film", FILM)
    await put_template(here.services.control, "look", LOOK)
    document = {"kind": "github", "template": "film", "secret": SHARED} | values
    return await put_hook(here.services.control, name, document)


async def called(client, document, name="film", **options):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    headers = options.pop("headers", None) or signed(body, **options)
    return await client.post(f"/api/v1/hooks/{name}", content=body, headers=headers)


def titles(here):
    return [json.loads(body)["job_title"] for body, *_ in here.broker.published]


async def begin(here):
    """Let every job be running."""
    await here.repository._database.write(lambda c: c.execute(update(jobs).values(state="running")))


async def test_a_push_renders_its_repository_once_however_often_it_is_delivered(tmp_path):
    async with site(tmp_path, tokens=True) as here, here.client() as client:
        await store(here)
        answer = await called(client, push())
        assert (answer.status_code, answer.json()["outcome"]) == (202, "submitted")
        record = await here.repository.job(answer.json()["job_id"])
        assert record.document["tasks"][0]["data"]["repo_url"] == "https://example.org/anna/films.git"
        assert titles(here) == ["films"]
        assert (await here.repository.origin(record.job_id)).asked_by == "hook film"
        # GitHub delivers it again; somebody who recorded it sends it with another delivery's id; the rows are lost.
        for headers in ({}, {"X-GitHub-Delivery": "2"}):
            again = await called(client, push(), **headers)
            assert (again.status_code, again.json()["job_id"]) == (202, record.job_id)
        await here.repository._database.write(lambda c: c.execute(delete(hook_calls)))
        await begin(here)
        again = await called(client, push())
        assert again.json()["job_id"] == record.job_id
        assert again.json()["outcome"].startswith("known")
        assert titles(here) == ["films"]


async def test_a_later_push_is_rendered_too_and_waits_for_no_second_job_while_one_has_not_begun(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        await store(here)
        first = (await called(client, push())).json()
        waits = (await called(client, push(COMMITS[1]))).json()
        assert (waits["job_id"], waits["outcome"].partition(":")[0]) == (first["job_id"], "waits")
        await begin(here)
        second = (await called(client, push("3" * 40))).json()
        assert second["outcome"] == "submitted"
        assert second["job_id"] != first["job_id"]


async def test_a_push_to_any_repository_of_one_film_waits_for_the_job_that_has_not_begun(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        several = [{"repo_url": f"https://example.org/anna/{name}.git"} for name in ("films", "site")]
        job = {"job_title": "all", "tasks": [{"module": "gource", "data": {"repositories": several}}]}
        await put_template(here.services.control, "all", {"job": job})
        await store(here, name="all", template="all")
        first = (await called(client, push(), "all")).json()
        assert first["outcome"] == "submitted"
        other = push(COMMITS[1])
        other["repository"] |= {"full_name": "anna/site", "clone_url": "https://example.org/anna/site.git"}
        waits = (await called(client, other, "all")).json()
        assert (waits["job_id"], waits["outcome"].partition(":")[0]) == (first["job_id"], "waits")
        await begin(here)
        other["after"] = "3" * 40
        assert (await called(client, other, "all")).json()["outcome"] == "submitted"
        (data,) = [json.loads(body)["tasks"][0]["data"] for body, *_ in here.broker.published][1:]
        assert data == {"repositories": several}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Hub-Signature-256": "sha256=" + "0" * 64, "X-GitHub-Event": "push"},
        {"X-Hub-Signature": "sha1=" + "0" * 40, "X-GitHub-Event": "push"},
        {"X-Hub-Signature-256": "", "X-GitHub-Event": "push"},
        {"Authorization": "Basic " + base64.b64encode(f"x:{SHARED}".encode()).decode()},
    ],
)
async def test_a_call_without_the_right_signature_makes_nothing_and_learns_nothing(tmp_path, headers):
    async with site(tmp_path) as here, here.client() as client:
        await store(here)
        here.application._failures.sleep = lambda seconds: None
        wrong = await called(client, push(), headers=headers | {"X": "y"})
        missing = await called(client, push(), name="none", headers=headers | {"X": "y"})
        assert (wrong.status_code, missing.status_code) == (401, 401)
        assert wrong.json() == missing.json()
        assert (titles(here), await here.repository.hook_calls("film", 10)) == ([], [])


async def test_a_body_that_was_changed_on_its_way_is_refused_before_it_is_read(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        await store(here)
        here.application._failures.sleep = lambda seconds: None
        body = json.dumps(push()).encode()
        headers = signed(body)
        for changed in (body + b" ", body.replace(b"anna", b"evil"), b"[" * 100_000, b"\xff"):
            answer = await client.post("/api/v1/hooks/film", content=changed, headers=headers)
            assert answer.status_code == 401
        for genuine in (b"[" * 1000, b"\xff", b"[]", b""):
            assert (await called(client, genuine)).status_code == 422
        assert titles(here) == []


@pytest.mark.parametrize(
    ("document", "event", "why"),
    [
        ({"zen": "x"}, "ping", "it is no push"),
        (push(ref="refs/tags/v1"), "push", "is no branch"),
        (push(ref="refs/heads/other"), "push", "is none of main"),
        (push("0" * 40, deleted=True), "push", "was deleted"),
    ],
)
async def test_a_call_that_is_no_push_to_the_branch_is_ignored_with_a_reason(tmp_path, document, event, why):
    async with site(tmp_path) as here, here.client() as client:
        await store(here)
        answer = await called(client, document, event=event)
        assert answer.status_code == 202
        assert why in answer.json()["outcome"]
        assert titles(here) == []
        (call,) = (await client.get("/api/v1/hooks/film/calls")).json()
        assert why in call["outcome"]


async def test_branches_repositories_and_a_switched_off_hook(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        await store(here, branches=["release/*"], repositories=["anna/*"])
        assert "submitted" in (await called(client, push(ref="refs/heads/release/1"))).text
        other = push(ref="refs/heads/release/1")
        other["repository"]["full_name"] = "eve/films"
        assert "is none of this hook" in (await called(client, other)).text
        await store(here, enabled=False)
        assert "the hook is off" in (await called(client, push())).text


async def test_sonarr_and_radarr_import_a_file_with_a_password(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        await store(here, "arr", kind="arr", template="look")
        (here.folder / "nas" / "film.mkv").write_bytes(b"a film")
        given = {"Authorization": "Basic " + base64.b64encode(f"leveret:{SHARED}".encode()).decode()}
        path = str(here.folder / "nas" / "film.mkv")
        for body in (
            {"eventType": "Download", "movie": {"title": "Film"}, "movieFile": {"path": path}},
            {"eventType": "Download", "series": {"title": "Film"}, "episodeFile": {"path": path}},
        ):
            answer = await called(client, body, name="arr", headers=given)
            assert answer.status_code == 202
        # The same file, reported twice, is one job.
        assert (titles(here), answer.json()["outcome"].partition(":")[0]) == (["film.mkv"], "known")
        test = await called(client, {"eventType": "Test"}, name="arr", headers=given)
        assert "ignored" in test.json()["outcome"]
        assert (await called(client, {"eventType": "Download"}, name="arr", headers=given)).status_code == 422
        outside = {"eventType": "Download", "movieFile": {"path": "/etc/passwd"}}
        assert (await called(client, outside, name="arr", headers=given)).status_code == 403
        gone = {"eventType": "Download", "movieFile": {"path": path + ".gone"}}
        assert (await called(client, gone, name="arr", headers=given)).status_code == 404
        here.application._failures.sleep = lambda seconds: None
        for wrong in ("Basic !!", "Basic " + base64.b64encode(b"leveret:wrong").decode(), "Basic", "Digest x"):
            answer = await called(client, outside, name="arr", headers={"Authorization": wrong})
            assert answer.status_code == 401


async def test_a_plain_call_is_signed_with_its_time_and_no_older_one_is_taken(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        await store(here, "plain", kind="json", fields={"repo_url": "repo.url", "title": "names.0"})
        here.application._failures.sleep = lambda seconds: None
        body = json.dumps({"repo": {"url": "https://example.org/c.git"}, "names": ["first", "second"]}).encode()
        now = int(time.time())
        headers = {HEADER: signature(SHARED, now, body)}
        assert (await called(client, body, name="plain", headers=headers)).json()["outcome"] == "submitted"
        assert (await called(client, body, name="plain", headers=headers)).json()["outcome"].startswith("known")
        assert titles(here) == ["first"]
        for at in (now - TOLERANCE_SECONDS - 5, now + TOLERANCE_SECONDS + 5):
            headers = {HEADER: signature(SHARED, at, body)}
            assert (await called(client, body, name="plain", headers=headers)).status_code == 401
        later = {HEADER: signature(SHARED, now - 1, body)}
        assert (await called(client, body, name="plain", headers=later)).json()["outcome"] == "submitted"


async def test_a_broker_that_is_away_lets_the_caller_try_again(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        await store(here)
        here.broker.away = True
        assert (await called(client, push())).status_code == 503
        here.broker.away = False
        assert (await called(client, push())).json()["outcome"] == "submitted"


async def test_hooks_are_kept_by_admins_and_their_secret_is_shown_to_nobody(tmp_path):
    async with site(tmp_path, tokens=True) as here:
        await store(here)
        document = {"kind": "github", "template": "film", "secret": SHARED}
        async with here.client("operator") as client:
            assert (await client.put("/api/v1/hooks/film", json=document)).status_code == 403
            assert (await client.delete("/api/v1/hooks/film")).status_code == 403
        async with here.client("admin") as client:
            stored = await client.put("/api/v1/hooks/film", json=document | {"secret": "…"})
            assert (await client.put("/api/v1/hooks/film", json=document | {"template": "none"})).status_code == 404
            assert (await client.put("/api/v1/hooks/film", json=document | {"secret": "short"})).status_code == 422
        async with here.client("viewer") as client:
            shown = [stored, await client.get("/api/v1/hooks"), await client.get("/api/v1/hooks/film")]
            assert [answer.status_code for answer in shown] == [200] * 3
            assert not any(SHARED in answer.text for answer in shown)
        assert (await here.repository.hook("film")).hook.secret == SHARED
        async with here.client() as client:
            assert (await client.get("/api/v1/hooks")).status_code == 401
            assert (await called(client, push())).status_code == 202


async def test_a_hook_names_a_template_and_variables_that_there_are(tmp_path):
    async with site(tmp_path) as here:
        with pytest.raises(NotFound, match="did you mean 'film'"):
            await store(here, template="fim")
        with pytest.raises(InvalidJob, match="no such variable"):
            await store(here, fields={"repo": "x"})
        with pytest.raises(InvalidJob, match="belong to the kind github"):
            await store(here, kind="json", branches=["main"])


def test_values_of_a_body_are_texts_and_never_structure():
    body = {"a": {"b": [{"c": 1}, True]}, "long": "x" * 5000, "none": None}
    assert [value_at(body, path) for path in ("a.b.0.c", "a.b.1", "a.b.9", "a.x", "none")] == [
        "1",
        "true",
        None,
        None,
        None,
    ]
    for path in ("a", "a.b", "long"):
        with pytest.raises(InvalidJob):
            value_at(body, path)
    hook = Hook(kind="json", template="film", secret=SHARED, fields={"title": "a"})
    with pytest.raises(InvalidJob):
        request_of(hook, "", body, frozenset({"title"}))


def test_the_command_line_stores_shows_and_deletes(cli):
    document = {"job": {"tasks": [{"module": "echo", "data": {"text": "x"}}]}}
    cli.ask(lambda repository: repository.put_template("film", document))
    hook = cli.write("hook.json", json.dumps({"kind": "github", "template": "film"}))
    assert "no hooks" in cli.type("hooks", "list").out
    said = cli.type("hooks", "put", "film", hook).out
    secret = said.rpartition(": ")[2].strip()
    assert len(secret) >= 32
    shown = cli.type("hooks", "get", "film").out
    listed = cli.type("hooks", "list").out + cli.type("hooks", "list", "--json").out
    assert secret not in shown + listed
    assert "/api/v1/hooks/film" in listed
    assert cli.type("hooks", "put", "film", cli.write("again.json", shown)).code == 0
    assert cli.ask(lambda repository: repository.hook("film")).hook.secret == secret
    assert "no calls" in cli.type("hooks", "calls", "film").out
    assert "did you mean 'film'?" in one_line(cli.type("hooks", "get", "fim"))
    assert cli.type("hooks", "delete", "film").code == 0
    assert "no hook" in one_line(cli.type("hooks", "delete", "film"))
