"""Scans that a server runs: asked for over the API, followed, ended, and taken over from a server that is gone."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from sqlalchemy import update

from tests.support.media import clip
from tests.support.web import site
from worker.adapters.sql.schema import moment
from worker.adapters.sql.schema.intake import scans
from worker.control.errors import NotFound, Refused
from worker.control.intake import scans as use
from worker.control.intake.library import Library
from worker.control.intake.scan import BROKEN, CONFORMS, FAILS
from worker.control.intake.templates import put_template

SMALL = {
    "promise": ["video.height <= 100"],
    "job": {"job_title": "{{ source.stem }}", "tasks": [{"module": "probe", "data": {"source": "{{ source.uri }}"}}]},
}
ASKED = {"template": "small", "source": "nas://in"}
PATH = "/api/v1/scans"


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("library")
    clip(folder / "large.mkv", seconds=1)
    clip(folder / "small.mkv", picture="s=160x90:r=25", seconds=1)
    (folder / "noise.mkv").write_bytes(b"no film at all" * 100)
    return folder


async def library(here, films):
    (here.folder / "nas" / "in").mkdir(parents=True)
    for film in films.iterdir():
        (here.folder / "nas" / "in" / film.name).write_bytes(film.read_bytes())
    await put_template(here.services.control, "small", SMALL)
    return here.services.control


async def test_a_scan_over_the_api_is_followed_to_its_result_and_makes_jobs_when_asked(tmp_path, films):
    async with site(tmp_path) as here, here.client() as client:
        control = await library(here, films)
        asked = await client.post(PATH, json=ASKED)
        assert asked.status_code == 202, asked.text
        assert asked.json()["state"] == "waiting"
        scan_id = asked.json()["scan_id"]
        assert await use.run_waiting(control, "server") == 1
        found = (await client.get(f"{PATH}/{scan_id}")).json()
        assert found["state"] == "completed", found
        verdicts = {kind: one["files"] for kind, one in found["result"]["verdicts"].items()}
        assert verdicts == {FAILS: 1, CONFORMS: 1, BROKEN: 1}
        assert found["progress"]["media"] == found["result"]["media"] == 3
        assert [one["source"] for one in found["result"]["shown"] if one["verdict"] == FAILS] == ["nas://in/large.mkv"]
        assert here.broker.published == []
        submitted = (await client.post(PATH, json=ASKED | {"submit": True, "limit": 5})).json()
        assert await use.run_waiting(control, "server") == 1
        found = (await client.get(f"{PATH}/{submitted['scan_id']}")).json()
        (job,) = found["result"]["submitted"]["jobs"]
        assert job == {"job_id": here.broker.published[0][1], "source": "nas://in/large.mkv"}
        assert (await control.stores.origin(job["job_id"])).asked_by == "scan"
        listed = (await client.get(PATH)).json()
        assert [(one["scan_id"], one["result"]) for one in listed] == [(submitted["scan_id"], None), (scan_id, None)]
        assert (await client.delete(f"{PATH}/{scan_id}")).status_code == 204
        assert (await client.get(f"{PATH}/{scan_id}")).status_code == 404


async def test_a_faulty_scan_is_refused_before_it_is_queued(tmp_path, films):
    wrong = [
        ({"template": "smal"}, 404, "did you mean 'small'"),
        ({"source": "https://example.org/films"}, 403, ""),
        ({"source": "s3://other/films"}, 403, "s3"),
        ({"source": "nas://../etc"}, 403, "leaves its root"),
        ({"variables": {"nothing": "x"}}, 422, "no such variable"),
        ({"limit": 3}, 422, "limit belongs to submit"),
        ({"folder": "nas://in"}, 422, "Extra inputs"),
    ]
    async with site(tmp_path) as here, here.client() as client:
        await library(here, films)
        for change, status, word in wrong:
            answer = await client.post(PATH, json=ASKED | change)
            assert answer.status_code == status, answer.text
            assert word in answer.text
        assert (await client.get(PATH)).json() == []


async def test_a_viewer_reads_and_starts_nothing(tmp_path):
    async with site(tmp_path, tokens=True) as here, here.client("viewer") as client:
        assert (await client.get(PATH)).status_code == 200
        assert (await client.post(PATH, json=ASKED)).status_code == 403
        assert (await client.delete(f"{PATH}/x")).status_code == 403


async def test_a_scan_that_fails_says_why(tmp_path, films):
    async with site(tmp_path) as here:
        control = await library(here, films)
        for source, problem in (("nas://away", "does not exist"), ("/etc", "file:///etc/ is not inside the roots")):
            one = await use.start_scan(control, ASKED | {"source": source})
            await use.run_waiting(control, "server")
            found = await use.get_scan(control, one.scan_id)
            assert found.state == "failed"
            assert problem in found.problem
        with pytest.raises(NotFound):
            await use.get_scan(control, "none")
        with pytest.raises(NotFound):
            await use.delete_scan(control, "\0")


async def test_so_many_scans_wait_and_no_more(tmp_path, films, monkeypatch):
    monkeypatch.setattr(use, "MAX_WAITING", 2)
    async with site(tmp_path) as here:
        control = await library(here, films)
        for _ in range(2):
            await use.start_scan(control, ASKED)
        with pytest.raises(Refused, match="2 scans wait or run already"):
            await use.start_scan(control, ASKED)


@pytest.fixture
def stuck(monkeypatch):
    """Let every probe wait, and say when the first one does."""
    reached = asyncio.Event()

    async def probe(self, place):
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Library, "probe", probe)
    monkeypatch.setattr(use, "RENEW_SECONDS", 0.02)
    return reached


async def test_a_scan_that_is_deleted_ends_at_once(tmp_path, films, stuck):
    async with site(tmp_path) as here:
        control = await library(here, films)
        one = await use.start_scan(control, ASKED)
        running = asyncio.create_task(use.run_waiting(control, "server"))
        async with asyncio.timeout(30):
            await stuck.wait()
            assert (await use.get_scan(control, one.scan_id)).state == "running"
            await use.delete_scan(control, one.scan_id)
            assert await running == 1
        assert await use.list_scans(control) == []


async def test_a_scan_whose_server_was_killed_is_begun_again_but_not_for_ever(tmp_path, films, stuck):
    async with site(tmp_path) as here:
        control = await library(here, films)
        one = await use.start_scan(control, ASKED)
        for _ in range(use.MAX_RUNS):
            stuck.clear()
            running = asyncio.create_task(use.run_waiting(control, "server"))
            async with asyncio.timeout(30):
                await stuck.wait()
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            assert await use.run_waiting(control, "another") == 0
            await expire(control, one.scan_id)
        await use.run_waiting(control, "another")
        found = await use.get_scan(control, one.scan_id)
        assert (found.state, found.problem) == ("failed", "the server that ran it ended 3 times before the scan did")


async def expire(control, scan_id: str) -> None:
    def work(connection) -> None:
        connection.execute(update(scans).where(scans.c.scan_id == scan_id).values(lease_until=moment(-1)))

    await control.stores._database.write(work)


async def test_the_screens_start_a_scan_show_what_it_found_and_make_jobs(tmp_path, films):
    async with site(tmp_path) as here, here.client() as client:
        control = await library(here, films)
        assert "None yet." in (await client.get("/scans")).text
        form = {"template": "small", "source": "nas://in", "health": ""}
        started = await client.post("/scans", data=form)
        assert started.status_code == 303
        path = started.headers["location"]
        waiting = (await client.get(path)).text
        assert "<strong>waiting</strong>" in waiting
        assert 'data-every="2000"' in waiting
        await use.run_waiting(control, "server")
        page = (await client.get(path)).text
        for words in ("<strong>completed</strong>", "nas://in/large.mkv", "video.height &lt;= 100", "not known yet"):
            assert words in page
        assert "data-every" not in page
        made = await client.post(path, data={"action": "submit", "limit": "5"})
        await use.run_waiting(control, "server")
        page = (await client.get(made.headers["location"])).text
        assert "1 submitted, 1 skipped, 1 failed." in page
        assert here.broker.published[0][1] in page
        assert "nas://in" in (await client.get("/scans")).text
        assert (await client.post(path, data={"action": "delete"})).status_code == 303
        assert (await client.get(path)).status_code == 404
        assert (await client.post("/scans", data=form | {"source": "nas://../etc"})).status_code == 403
        assert (await client.post("/scans", data=form | {"variables": "x"})).status_code == 422


async def test_a_file_named_like_markup_is_text_on_the_screens(tmp_path, films):
    hostile = "<script>alert(1)</script>"
    async with site(tmp_path) as here, here.client() as client:
        control = await library(here, films)
        (here.folder / "nas" / "in" / f"{hostile.replace('/', '|')}.mkv").write_bytes(b"noise")
        for source in ("nas://in", f"nas://{hostile}"):
            one = await use.start_scan(control, ASKED | {"source": source})
            await use.run_waiting(control, "server")
            page = (await client.get(f"/scans/{one.scan_id}")).text + (await client.get("/scans")).text
            assert "<script>alert" not in page
            assert "&lt;script&gt;alert" in page


async def test_only_operators_see_the_screens(tmp_path):
    async with site(tmp_path, tokens=True) as here, here.client("viewer") as client:
        assert (await client.get("/scans")).status_code == 403
        assert (await client.get("/scans/x")).status_code == 403
        assert (await client.post("/scans", data={"template": "a", "source": "b"})).status_code == 403
