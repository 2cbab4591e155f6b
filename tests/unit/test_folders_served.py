"""Watched folders as a server runs them, and as people store them."""

from __future__ import annotations

import asyncio
import json
import time
import tracemalloc

import pytest

from tests.support.command_line import one_line
from tests.support.folders import inbox, until
from worker.control import NotFound
from worker.control.intake.folders import checked_folder, put_folder
from worker.control.intake.watching import FolderWatcher
from worker.core.errors import InvalidJob, RefusedPath
from worker.core.folder import Folder, Sighting, belongs_to, group_of
from worker.core.ports.files import Found

# ------------------------------------------------------------------ whole: the loop itself, and how fast it is


async def test_a_dropped_file_is_a_queued_job_two_seconds_after_it_settled(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put(settle_seconds=1)
        watcher = asyncio.create_task(FolderWatcher(here.control, here.files, "one").run())
        try:
            await until(lambda: scanned(here))
            here.drop("a.mkv")
            dropped = time.monotonic()
            await until(lambda: queued(here))
            seconds = time.monotonic() - dropped
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
    assert seconds <= 1 + 2


async def scanned(here):
    return (await here.repository.folder("inbox")).scanned_at


async def queued(here):
    return here.broker.published


async def test_a_folder_is_noticed_when_it_is_stored_and_let_go_when_it_is_deleted(tmp_path):
    async with inbox(tmp_path) as here:
        watcher = FolderWatcher(here.control, here.files, "one")
        running = asyncio.create_task(watcher.run())
        try:
            await here.put(settle_seconds=1)
            here.drop("a.mkv")
            await until(lambda: queued(here))
            await here.repository.delete_folder("inbox")
            await until(lambda: gone(watcher))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def gone(watcher):
    return not watcher._watching


async def test_the_memory_of_a_look_does_not_grow_with_the_folder(tmp_path, monkeypatch):
    async with inbox(tmp_path) as here:
        await here.put()
        (folder,) = [one.folder for one in await here.repository.folders()]

        async def walk(_self, place):
            for first in range(0, 10_000, 500):
                yield tuple(Found(place.joined(f"{n}.mkv"), n + 1, 0.0, str(n)) for n in range(first, first + 500))

        monkeypatch.setattr("worker.control.intake.library.Library.walk", walk)
        server = here.server()
        assert await server.look(folder) == 10_000
        tracemalloc.start()
        try:
            assert await server.look(folder) == 10_000
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 16 << 20


# ------------------------------------------------------------------ documents and faces


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({"place": "nas://inbox"}, "template"),
        ({"place": "nas://inbox", "template": "Look!"}, "template"),
        ({"place": "nas://inbox", "template": "look", "settle": 3}, "did you mean"),
        ({"place": "nas://inbox", "template": "look", "settle_seconds": 0}, "settle_seconds"),
        ({"place": "nas://inbox", "template": "look", "afterwards": "move"}, "move_to"),
        ({"place": "nas://a", "template": "look", "afterwards": "move", "move_to": "nas://a/"}, "the folder itself"),
        ([], ""),
    ],
)
def test_a_wrong_folder_is_refused_with_the_reason(document, word):
    with pytest.raises(InvalidJob) as caught:
        checked_folder("inbox", document)
    assert word in " ".join(map(str, caught.value.problems))
    with pytest.raises(InvalidJob, match="is no name"):
        checked_folder("In Box", {"place": "nas://inbox", "template": "look"})


async def test_a_folder_outside_the_roots_or_without_a_template_is_refused(tmp_path):
    async with inbox(tmp_path) as here:
        with pytest.raises(RefusedPath):
            await here.put(place="/etc/")
        with pytest.raises(RefusedPath):
            await here.put(place="https://example.org/films/")
        with pytest.raises(NotFound, match="did you mean 'look'"):
            await here.put(template="lok")
        with pytest.raises(InvalidJob, match="no such variable"):
            await here.put(variables={"title": "x"})
        # One place has one name, whatever it is called.
        await put_folder(here.control, here.files, "same", {"place": str(here.root / "inbox"), "template": "look"})
        assert (await here.repository.folder("same")).folder.place == "nas://inbox/"


def test_names_of_films_and_of_what_belongs_to_them():
    folder = Folder(place="nas://x", template="look")
    assert folder.takes("a/b.MKV")
    assert not folder.takes("a/b.nfo")
    chosen = Folder(place="nas://x", template="look", include=["films/**/*.mkv"])
    assert chosen.takes("films/a/b.mkv")
    assert chosen.takes("films/b.mkv")
    assert not chosen.takes("b.mkv")
    assert belongs_to("a/film.en.srt", "a/film.mkv")
    assert not belongs_to("b/film.en.srt", "a/film.mkv")
    assert not belongs_to("a/filmed.srt", "a/film.mkv")
    assert group_of("a/film.2020.en.srt") == group_of("a/film.2020.mkv")


def test_the_command_line_stores_lists_pauses_and_deletes(cli, tmp_path, monkeypatch):
    root = tmp_path / "nas"
    (root / "inbox").mkdir(parents=True)
    monkeypatch.setenv("WORKER_NAS_ROOT", str(root))
    document = {"job": {"tasks": [{"module": "echo", "data": {"text": "{{ source.uri }}"}}]}}
    cli.ask(lambda repository: repository.put_template("look", document))
    assert "no folders" in cli.type("folders", "list").out
    words = ("folders", "put", "inbox", "nas://inbox", "--template", "look", "--settle", "5")
    assert "is stored" in cli.type(*words).out
    stored = json.loads(cli.type("folders", "get", "inbox").out)
    assert (stored["place"], stored["settle_seconds"]) == ("nas://inbox/", 5)
    assert cli.type("folders", "put", "again", cli.write("f.json", json.dumps(stored))).code == 0
    assert [one["name"] for one in json.loads(cli.type("folders", "list", "--json").out)] == ["again", "inbox"]
    assert "nas://inbox/" in cli.type("folders", "list").out
    assert "paused" in cli.type("folders", "pause", "inbox").out
    assert cli.type("folders", "resume", "inbox").code == 0
    cli.ask(lambda repository: repository.note_sightings("inbox", [Sighting(path="a.mkv", bytes=3, version="1")]))
    assert "a.mkv" in cli.type("folders", "files", "inbox").out
    assert json.loads(cli.type("folders", "files", "inbox", "--state", "done", "--json").out) == []
    assert cli.type("folders", "files", "inbox", "--state", "x").code == 2
    assert cli.type("folders", "put", "inbox", "nas://inbox").code == 2
    assert "did you mean 'inbox'?" in one_line(cli.type("folders", "get", "inbix"))
    assert cli.type("folders", "delete", "inbox").code == 0
    assert "no folder" in one_line(cli.type("folders", "delete", "inbox"))
