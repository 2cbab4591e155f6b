"""Watched folders: each file once, and only when it stands still, whoever is killed and whatever is away."""

from __future__ import annotations

import asyncio
import json
import os
import time
import tracemalloc

import pytest
from sqlalchemy import delete, update

from tests.support.command_line import one_line
from tests.support.folders import inbox, look, until
from worker.adapters.sql.intake_schema import folder_files
from worker.adapters.sql.schema import jobs
from worker.app.folder_files import WatchedFiles
from worker.app.undoing import KeptFiles
from worker.control import NotFound
from worker.control.folders import checked_folder, put_folder
from worker.control.templates import put_template
from worker.control.undo import undo
from worker.control.watching import FolderWatcher
from worker.core.errors import BrokerUnavailable, InvalidJob, RefusedPath
from worker.core.folder import Folder, Sighting, belongs_to, group_of
from worker.core.ports.files import Found


async def test_a_file_that_stands_still_becomes_one_job(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put()
        here.drop("a.mkv")
        server = here.server()
        await look(server)
        assert (await here.states(), here.titles) == ({"a.mkv": "settling"}, [])
        await here.settle()
        for _ in range(3):
            await look(server)
        assert (await here.states(), here.titles) == ({"a.mkv": "submitted"}, ["a.mkv"])
        (file,) = await here.repository.folder_files("inbox", None, 10)
        record = await here.repository.job(file.job_id)
        assert (record.state, record.document["tasks"][0]["data"]["source"]) == ("queued", "nas://inbox/a.mkv")
        assert (await here.repository.origin(file.job_id)).asked_by == "folder inbox"


async def test_an_upload_in_progress_is_never_taken(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put()
        path = here.drop("a.mkv", b"one")
        server = here.server()
        await look(server)
        await here.settle()
        with path.open("ab") as upload:
            upload.write(b" more")
            upload.flush()
            await look(server)
            # It grew: it counts from now.
            assert await here.states() == {"a.mkv": "settling"}
            await here.settle()
            # It stands still, but the program that writes it still has it open.
            await look(server)
            assert (here.titles, (await here.reasons())["a.mkv"]) == ([], "it is being written")
            await look(server)
            assert here.titles == []
        await here.settle()
        await look(server)
        assert here.titles == ["a.mkv"]


async def test_unfinished_empty_hidden_and_foreign_files_are_left_alone(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put(exclude=["*sample*", "private/*"])
        for name in (
            "a.mkv.part",
            "b.mkv.!qB",
            ".c.mkv",
            "d.txt",
            "~e.mkv",
            "f-sample.mkv",
            "private/g.mkv",
            ".h/i.mkv",
        ):
            here.drop(name)
        here.drop("empty.mkv", b"")
        (here.root / "inbox" / "link.mkv").symlink_to("/etc/passwd")
        await here.taken()
        assert (here.titles, set(await here.states())) == ([], {"empty.mkv"})


async def test_two_servers_submit_each_file_once(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put()
        for number in range(20):
            here.drop(f"{number}.mkv", f"film {number}".encode())
        one, two = here.server("one"), here.server("two")
        await asyncio.gather(look(one), look(two))
        await here.settle()
        await asyncio.gather(look(one), look(two))
        # Even where both believe that the folder is theirs: one was stopped by the system, and goes on.
        await here.lose_lease()
        await look(two)
        await asyncio.gather(one._turn(folder := (await here.repository.folder("inbox")).folder), two._turn(folder))
        assert here.titles == sorted(f"{number}.mkv" for number in range(20))


async def test_two_servers_that_both_believe_the_folder_theirs_make_one_job(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put()
        for number in range(5):
            here.drop(f"{number}.mkv", f"film {number}".encode())
        one, two = here.server("one"), here.server("two")
        await look(one)
        await here.settle()
        folder = (await here.repository.folder("inbox")).folder
        one._lease_at = two._lease_at = time.monotonic() + 60
        await asyncio.gather(one._turn(folder), two._turn(folder))
        assert here.titles == [f"{number}.mkv" for number in range(5)]
        assert set((await here.states()).values()) == {"submitted"}


@pytest.mark.parametrize("moment_of_death", ["before it submits", "before it says so", "while the broker confirms"])
async def test_a_server_that_is_killed_submits_nothing_twice_and_loses_nothing(tmp_path, moment_of_death, monkeypatch):
    async with inbox(tmp_path) as here:
        await here.put()
        here.drop("a.mkv")
        server = here.server()
        await look(server)
        await here.settle()

        class Killed(BaseException):
            """The process is gone."""

        async def die(*_args, **_values):
            raise Killed

        name, target = {
            "before it submits": ("submit", type(here.repository)),
            "before it says so": ("decide", type(here.repository)),
            "while the broker confirms": ("publish_job", type(here.broker)),
        }[moment_of_death]
        with monkeypatch.context() as patch:
            patch.setattr(target, name, die)
            with pytest.raises(Killed):
                await look(server)
        await here.lose_lease()
        await look(here.server("two"))
        assert await here.states() == {"a.mkv": "submitted"}
        (row,) = await here.repository._database.read(lambda c: c.execute(jobs.select()).all())
        assert row.state == "queued"
        # A message that never reached the broker is in the outbox, from which a worker publishes it.
        assert here.titles == (["a.mkv"] if moment_of_death != "while the broker confirms" else [])
        outbox = await here.repository.outbox(0.0, 10)
        assert len(outbox) == (1 if moment_of_death == "while the broker confirms" else 0)


async def test_a_lost_row_submits_nothing_twice(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put()
        here.drop("a.mkv")
        await here.taken()
        await here.repository._database.write(lambda c: c.execute(delete(folder_files)))
        await here.taken()
        assert (here.titles, await here.states()) == (["a.mkv"], {"a.mkv": "submitted"})


async def test_a_broker_that_is_away_loses_no_file(tmp_path, monkeypatch):
    async with inbox(tmp_path) as here:
        await here.put()
        here.drop("a.mkv")
        here.broker.away = True
        await here.taken()
        assert await here.states() == {"a.mkv": "settling"}
        assert "does not answer" in (await here.repository.folder("inbox")).problem
        here.broker.away = False

        async def refuse(*_args, **_values):
            raise BrokerUnavailable("the broker did not confirm")

        with monkeypatch.context() as patch:
            # It goes away between the row and the confirmation: `submit` records the job as cancelled.
            patch.setattr(type(here.broker), "publish_job", refuse)
            await look(here.server())
        assert await here.states() == {"a.mkv": "settling"}
        await look(here.server())
        (file,) = await here.repository.folder_files("inbox", None, 10)
        assert (file.state, (await here.repository.job(file.job_id)).state) == ("submitted", "queued")
        assert (await here.repository.folder("inbox")).problem is None


async def test_a_new_file_of_the_same_name_is_new_and_a_renamed_one_is_not(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put()
        path = here.drop("a.mkv", b"first")
        await here.taken()
        path.rename(path.with_name("renamed.mkv"))
        here.drop("a.mkv", b"second")
        await here.taken()
        assert here.titles == ["a.mkv", "a.mkv"]
        assert await here.states() == {"a.mkv": "submitted", "renamed.mkv": "skipped"}
        assert "from nas://inbox/a.mkv" in (await here.reasons())["renamed.mkv"]


async def test_a_mount_that_is_away_is_not_an_empty_folder(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put()
        here.drop("a.mkv")
        (here.root / ".leveret").touch()
        here.files = WatchedFiles.of(here.settings, here.repository)
        server = here.server()
        await look(server)
        await here.settle()
        away = here.root.with_name("away")
        here.root.rename(away)
        (here.root / "inbox").mkdir(parents=True)
        await look(server)
        assert "mount" in (await here.repository.folder("inbox")).problem
        assert await here.states() == {"a.mkv": "settling"}
        (here.root / "inbox").rmdir()
        here.root.rmdir()
        await look(server)
        assert "is not there" in (await here.repository.folder("inbox")).problem
        away.rename(here.root)
        await look(server)
        assert (here.titles, (await here.repository.folder("inbox")).problem) == (["a.mkv"], None)


async def test_a_folder_that_vanishes_is_said_and_comes_back(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put()
        here.drop("a.mkv")
        await look(here.server())
        gone = here.root / "gone"
        (here.root / "inbox").rename(gone)
        await look(here.server())
        assert "does not exist" in (await here.repository.folder("inbox")).problem
        assert await here.states() == {"a.mkv": "settling"}
        gone.rename(here.root / "inbox")
        await here.taken()
        assert here.titles == ["a.mkv"]


async def test_a_file_that_is_removed_before_it_settles_is_forgotten(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put()
        path = here.drop("a.mkv")
        await look(here.server())
        path.unlink()
        await here.settle()
        await look(here.server())
        assert (await here.states(), here.titles) == ({}, [])


@pytest.mark.parametrize("offset", [-10 * 365 * 86400, 10 * 365 * 86400])
async def test_clocks_that_are_apart_take_nothing_early_and_nothing_never(tmp_path, offset):
    async with inbox(tmp_path) as here:
        await here.put()
        path = here.drop("a.mkv")
        stamp = time.time() + offset
        os.utime(path, (stamp, stamp))
        await look(here.server())
        assert here.titles == []
        await here.settle()
        await look(here.server())
        assert here.titles == ["a.mkv"]


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
        server = here.server()
        await server._finish((await here.repository.folder("inbox")).folder, film)
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


async def test_what_a_job_makes_is_not_taken_before_nor_after_its_record(tmp_path):
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


async def test_no_more_wait_than_the_folder_says_and_the_rest_follows(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put(most_waiting=3)
        for number in range(8):
            here.drop(f"{number}.mkv", f"film {number}".encode())
        await here.taken()
        assert len(here.titles) == 3
        await here.repository._database.write(lambda c: c.execute(update(jobs).values(state="running")))
        await look(here.server())
        assert len(here.titles) == 6


async def test_one_file_that_fails_holds_up_no_other(tmp_path):
    async with inbox(tmp_path) as here:
        document = {
            "variables": {"title": {"kind": "text"}},
            "job": {
                "job_title": "{{ source.name }}",
                "tasks": [{"module": "probe", "data": {"source": "{{ source.uri }}"}}],
            },
            "when": "video.height >= 1",
        }
        await put_template(here.control, "strict", document)
        await here.put(template="strict")
        here.drop("a.mkv", b"no film at all")
        await here.taken()
        assert await here.states() == {"a.mkv": "failed"}
        # With another template it is tried again.
        await here.put()
        await look(here.server())
        assert here.titles == ["a.mkv"]


async def test_a_template_that_is_deleted_stops_the_folder_and_loses_nothing(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put()
        here.drop("a.mkv")
        await here.repository.delete_template("look")
        await here.taken()
        assert "no template" in (await here.repository.folder("inbox")).problem
        assert await here.states() == {"a.mkv": "settling"}


async def test_a_paused_folder_takes_nothing(tmp_path):
    async with inbox(tmp_path) as here:
        await here.put()
        here.drop("a.mkv")
        await here.repository.pause_folder("inbox", paused=True)
        await here.taken()
        assert await here.states() == {}
        await here.repository.pause_folder("inbox", paused=False)
        await here.taken()
        assert here.titles == ["a.mkv"]


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

        monkeypatch.setattr("worker.control.library.Library.walk", walk)
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
    cli.ask(lambda repository: repository.sight("inbox", [Sighting(path="a.mkv", bytes=3, version="1")]))
    assert "a.mkv" in cli.type("folders", "files", "inbox").out
    assert json.loads(cli.type("folders", "files", "inbox", "--state", "done", "--json").out) == []
    assert cli.type("folders", "files", "inbox", "--state", "x").code == 2
    assert cli.type("folders", "put", "inbox", "nas://inbox").code == 2
    assert "did you mean 'inbox'?" in one_line(cli.type("folders", "get", "inbix"))
    assert cli.type("folders", "delete", "inbox").code == 0
    assert "no folder" in one_line(cli.type("folders", "delete", "inbox"))
