"""Watched folders: what goes with a film, what becomes of it afterwards, and that what jobs make is not taken."""

from __future__ import annotations

import json

from sqlalchemy import delete

from tests.support.folders import inbox, look
from worker.adapters.sql.schema.intake import folder_files
from worker.app.undoing import KeptFiles
from worker.control.intake.taking import FileTaker
from worker.control.intake.templates import put_template
from worker.control.undo import undo


async def test_sidecars_go_with_their_film(tmp_path):
    async with inbox(tmp_path) as here:
        document = json.loads(
            json.dumps(
                {
                    "job": {
                        "job_title": "{{ sidecar }}",
                        "tasks": [{"module": "probe", "data": {"source": "{{ source.uri }}"}}],
                    },
                    "variables": {"sidecar": ""},
                }
            )
        )
        await put_template(here.control, "look", document)
        await here.put(afterwards="move", move_to="nas://done/")
        here.drop("film.2020.mkv")
        here.drop("film.2020.en.srt", b"1")
        here.drop("film.2020.de.ass", b"2")
        here.drop("film.2021.en.srt", b"3")
        await look(here.server())
        await here.settle(path="film.2020.mkv")
        await look(here.server())
        # Its subtitles are still coming.
        assert here.titles == []
        await here.settle()
        await look(here.server())
        assert here.titles == ["nas://inbox/film.2020.de.ass"]
        (film,) = await here.repository.folder_files("inbox", "submitted", 10)
        await here.complete(film.job_id)
        await look(here.server())
        assert names(here, "done") == ["film.2020.de.ass", "film.2020.en.srt", "film.2020.mkv"]
        assert names(here, "inbox") == ["film.2021.en.srt"]


def names(here, folder):
    found = here.root / folder
    return sorted(str(path.relative_to(found)) for path in found.rglob("*") if path.is_file())


async def test_a_film_is_deleted_after_the_record_and_undo_brings_it_back(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put(afterwards="delete")
        here.drop("a.mkv", b"original")
        await here.taken()
        assert names(here, "inbox") == ["a.mkv"]
        (film,) = await here.repository.folder_files("inbox", None, 10)
        await here.complete(film.job_id)
        await look(here.server())
        assert (here.root / "inbox" / "a.mkv").exists() is False
        assert await here.states() == {"a.mkv": "done"}
        await undo(here.control, KeptFiles.of(here.settings), film.job_id)
        assert (here.root / "inbox" / "a.mkv").read_bytes() == b"original"
        await here.taken()
        assert here.titles == ["a.mkv"]


async def test_a_new_file_under_the_name_of_a_done_one_is_neither_moved_nor_deleted(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put(afterwards="delete")
        here.drop("a.mkv", b"original")
        await here.taken()
        (film,) = await here.repository.folder_files("inbox", None, 10)
        await here.complete(film.job_id)
        here.drop("a.mkv", b"another film")
        stored = await here.repository.folder("inbox")
        await FileTaker(here.control, here.files, "inbox").finish(stored.folder, film)
        assert (here.root / "inbox" / "a.mkv").read_bytes() == b"another film"


async def test_a_moved_film_replaces_nothing_and_a_dead_job_leaves_its_source(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put(afterwards="move", move_to="nas://done/")
        here.drop("sub/a.mkv", b"one")
        here.drop("sub/a.mkv", b"another", folder="done")
        here.drop("dead.mkv", b"two")
        await here.taken()
        for film in await here.repository.folder_files("inbox", "submitted", 10):
            if film.path == "sub/a.mkv":
                await here.complete(film.job_id)
        await look(here.server())
        assert names(here, "done") == ["sub/a (2).mkv", "sub/a.mkv"]
        assert (here.root / "done/sub/a.mkv").read_bytes() == b"another"
        assert names(here, "inbox") == ["dead.mkv"]


async def test_the_output_of_a_job_is_not_taken_as_a_source_before_or_after_its_record(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put()
        here.drop("a.mkv")
        await here.taken()
        (film,) = await here.repository.folder_files("inbox", None, 10)
        attempt, result = await here.complete(film.job_id, "nas://inbox/a.mp4", size=4)
        here.drop("a.mp4", b"made")
        await here.taken()
        states = await here.states()
        assert (states["a.mp4"], here.titles) == ("skipped", ["a.mkv"])
        await here.repository.complete(attempt, result)
        await here.repository._database.write(lambda c: c.execute(delete(folder_files)))
        await here.taken()
        assert here.titles == ["a.mkv"]
        assert f"the job {film.job_id} made it" in (await here.reasons())["a.mp4"]
        # Another file under that name is nobody's output.
        here.drop("a.mp4", b"by somebody else")
        await here.taken()
        assert here.titles == ["a.mkv", "a.mp4"]


async def test_a_job_that_replaces_its_source_in_the_folder_is_no_loop(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put()
        here.drop("a.mkv", b"large original")
        await here.taken()
        (film,) = await here.repository.folder_files("inbox", None, 10)
        attempt, result = await here.complete(film.job_id, "nas://inbox/a.mkv", size=5)
        here.drop("a.mkv", b"small")
        await here.repository.complete(attempt, result)
        for _ in range(2):
            await here.taken()
        assert here.titles == ["a.mkv"]
