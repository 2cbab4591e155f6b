"""The screen of folders, hooks and notifications: what it shows, what its buttons do, and whom it lets in."""

from __future__ import annotations

import pytest

from tests.support.web import site
from worker.control.intake.folders import put_folder
from worker.control.intake.hooks import put_hook
from worker.control.intake.schedules import get_schedule
from worker.engine.attempt.originals import keep_deleted

SHARED = "what both sides of a test know"
HOSTILE = "<script>alert(1)</script>"
PATH = "/settings/automatic"


async def filled(here):
    control = here.services.control
    document = {"place": "nas://inbox", "template": "web-mp4", "include": [HOSTILE]}
    await put_folder(control, here.services.folder_files, "inbox", document)
    await here.repository.claim_folder("inbox", "one", 30.0)
    await here.repository.folder_scanned("inbox", "one", 3, f"{HOSTILE} is away")
    await put_hook(control, "film", {"kind": "github", "template": "gource-1080p", "secret": SHARED})
    (here.folder / "nas" / "film.mkv").write_text("original")
    await here.complete("done-job")
    await keep_deleted(here.repository, here.services.originals.storages, "done-job", "nas://film.mkv")


async def test_everything_is_shown_escaped_and_without_secrets(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        assert "None." in (await client.get(PATH)).text
        await filled(here)
        page = (await client.get(PATH)).text
        for words in ("inbox", "gource-1080p", "/api/v1/hooks/film", "nas://film.mkv", "is away"):
            assert words in page
        assert HOSTILE not in page
        assert SHARED not in page


async def test_the_buttons_pause_resume_undo_and_delete(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        await filled(here)
        for action, paused in (("pause", True), ("resume", False)):
            answer = await client.post(f"{PATH}/folders", data={"name": "inbox", "action": action})
            assert answer.status_code == 303
            assert (await here.repository.folder("inbox")).paused is paused
        assert (await client.post(f"{PATH}/originals", data={"job_id": "done-job"})).status_code == 303
        assert (here.folder / "nas" / "film.mkv").read_text() == "original"
        assert (await client.post(f"{PATH}/originals", data={"job_id": "done-job"})).status_code == 404
        assert (await client.post(f"{PATH}/hooks", data={"name": "film"})).status_code == 303
        assert (await client.post(f"{PATH}/folders", data={"name": "inbox", "action": "delete"})).status_code == 303
        assert (await here.repository.hooks(), await here.repository.folders()) == ([], [])
        data = {"name": "none", "action": "delete"}
        assert (await client.post(f"{PATH}/notifications", data=data)).status_code == 404


async def test_a_schedule_is_stored_paused_resumed_and_deleted(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        form = {"name": "nightly", "cron": "30 3 * * *", "zone": "Europe/Berlin", "template": "web-mp4"}
        form |= {"sources": f"nas://in/**\r\nnas://{HOSTILE}\r\n", "action": "submit"}
        assert (await client.post(f"{PATH}/schedules/stored", data=form)).status_code == 303
        stored = await get_schedule(here.services.control, "nightly")
        assert stored.schedule.sources == ("nas://in/**", f"nas://{HOSTILE}")
        page = (await client.get(PATH)).text
        assert "30 3 * * * Europe/Berlin" in page
        assert HOSTILE not in page
        for action, due in (("pause", False), ("resume", True)):
            answer = await client.post(f"{PATH}/schedules", data={"name": "nightly", "action": action})
            assert answer.status_code == 303
            assert ((await get_schedule(here.services.control, "nightly")).next_at is not None) is due
            over = await client.post(f"/api/v1/schedules/nightly/{action}")
            assert (over.json()["next_at"] is not None) is due
        assert (await client.post(f"{PATH}/schedules/stored", data=form | {"cron": "x"})).status_code == 422
        assert (await client.post(f"{PATH}/schedules", data={"name": "nightly", "action": "delete"})).status_code == 303
        assert await here.repository.schedules() == []
        assert (await client.post("/api/v1/schedules/nightly/pause")).status_code == 404


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_only_admins_see_it(tmp_path, role):
    async with site(tmp_path, tokens=True) as here, here.client(role) as client:
        assert (await client.get(PATH)).status_code == 403
        assert (await client.post(f"{PATH}/hooks", data={"name": "film"})).status_code == 403
