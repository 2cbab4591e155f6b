"""The screen of folders, hooks and notifications: what it shows, what its buttons do, and whom it lets in."""

from __future__ import annotations

import pytest

from tests.support.web import site
from worker.control.folders import put_folder
from worker.control.hooks import put_hook
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


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_only_admins_see_it(tmp_path, role):
    async with site(tmp_path, tokens=True) as here, here.client(role) as client:
        assert (await client.get(PATH)).status_code == 403
        assert (await client.post(f"{PATH}/hooks", data={"name": "film"})).status_code == 403
