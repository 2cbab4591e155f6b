"""Templates over the API and on the page."""

from __future__ import annotations

from tests.support.web import site
from worker.control.intake.shipped import shipped_templates

LOOK = {
    "description": "A look.",
    "variables": {"title": "{{ source.stem }}"},
    "job": {"job_title": "{{ title }}", "tasks": [{"module": "probe", "data": {"source": "{{ source.uri }}"}}]},
}


def put_files(here, *names: str) -> None:
    (here.folder / "nas" / "in").mkdir(exist_ok=True)
    for name in names:
        (here.folder / "nas" / "in" / name).write_text(name)


async def test_a_template_is_stored_tried_and_made_into_jobs(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        put_files(here, "a.mkv", "b.mkv", "c.txt")
        stored = await client.put("/api/v1/templates/look", json=LOOK)
        assert (stored.status_code, stored.json()["version"]) == (200, 1), stored.text
        names = {one["name"] for one in (await client.get("/api/v1/templates")).json()}
        assert names == {"look", *shipped_templates()}
        assert (await client.get("/api/v1/templates/look")).json()["document"] == LOOK
        asked = {"source": "nas://in/a.mkv", "variables": {"title": "x"}}
        tried = (await client.post("/api/v1/templates/look/try", json=asked)).json()
        assert (tried["job"]["job_title"], tried["reason"]) == ("x", None)
        many = {"sources": ["nas://in/*.mkv"]}
        counted = (await client.post("/api/v1/templates/look/jobs", json=many | {"dry_run": True})).json()
        assert counted["counted"] == [{"files": 3, "matching": 2, "bytes": 10, "done": 0, "unreadable": 0}]
        assert here.broker.published == []
        made = (await client.post("/api/v1/templates/look/jobs", json=many)).json()
        assert (made["submitted"], made["skipped"]) == (2, 0)
        again = (await client.post("/api/v1/templates/look/jobs", json=many)).json()
        assert (again["submitted"], again["skipped"]) == (0, 2)
        assert {one["job_id"] for one in again["left"]} == {one["job_id"] for one in made["jobs"]}
        assert (await client.delete("/api/v1/templates/look")).status_code == 204
        assert (await client.get("/api/v1/templates/look")).status_code == 404
        assert (await client.delete("/api/v1/templates/poster")).status_code == 409


async def test_a_fault_is_a_problem_with_its_place(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        wrong = await client.put("/api/v1/templates/look", json=LOOK | {"wen": "true"})
        assert wrong.status_code == 422
        assert wrong.json()["problems"][0]["path"] == "wen"
        assert (await client.put("/api/v1/templates/Look", json=LOOK)).status_code == 422
        assert (await client.post("/api/v1/templates/look/try", json={})).status_code == 404
        outside = await client.post("/api/v1/templates/poster/try", json={"source": "/etc/passwd"})
        assert outside.status_code == 403
        none = await client.post("/api/v1/templates/poster/jobs", json={"sources": ["nas://none/*.mkv"]})
        assert none.status_code == 404


async def test_roles_are_kept(tmp_path):
    async with site(tmp_path, tokens=True) as here:
        async with here.client("viewer") as viewer:
            assert (await viewer.get("/api/v1/templates")).status_code == 200
            assert (await viewer.post("/api/v1/templates/poster/try", json={"source": "nas://a"})).status_code == 403
            assert (await viewer.get("/templates")).status_code == 403
        async with here.client("operator") as operator:
            assert (await operator.put("/api/v1/templates/look", json=LOOK)).status_code == 403
            assert "Store one" not in (await operator.get("/templates")).text


async def test_the_page_shows_templates_and_submits_with_them(tmp_path):
    async with site(tmp_path) as here, here.client(headers={"Origin": "http://127.0.0.1:8080"}) as client:
        put_files(here, "<b>.mkv")
        page = await client.get("/templates", params={"name": "h265-archive"})
        assert page.status_code == 200
        assert "H.265" in page.text
        stored = await client.post("/templates/stored", data={"name": "look", "document": "{"})
        assert stored.status_code == 422
        await client.put("/api/v1/templates/look", json=LOOK)
        form = {"name": "look", "source": "nas://in/*.mkv", "variables": "title = <i>x</i>"}
        tried = await client.post("/templates", data=form | {"source": "nas://in/<b>.mkv"})
        assert tried.status_code == 200
        assert "&lt;i&gt;x" in tried.text
        assert "<i>x" not in tried.text
        assert here.broker.published == []
        made = await client.post("/templates", data=form | {"action": "submit"})
        assert "1 submitted, 0 skipped, 0 failed" in made.text
        assert "&lt;b&gt;.mkv" in made.text
        assert "No job: it conforms" not in made.text
        wrong = await client.post("/templates", data=form | {"variables": "nothing"})
        assert "line 1: is not key = value" in wrong.text
        gone = await client.post("/templates/stored", data={"name": "look", "action": "delete"})
        assert gone.status_code == 303
