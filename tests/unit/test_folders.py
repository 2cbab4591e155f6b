"""Watched folders: each file once, and only when it stands still, whoever is killed and whatever is away."""

from __future__ import annotations

import asyncio
import os
import time

import pytest
from sqlalchemy import delete, update

from tests.support.folders import inbox, look
from worker.adapters.sql.schema import jobs
from worker.adapters.sql.schema.intake import folder_files
from worker.app.folder_files import WatchedFiles
from worker.control.intake.templates import put_template
from worker.core.errors import BrokerUnavailable


async def test_a_settled_file_becomes_one_job(tmp_path):
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
