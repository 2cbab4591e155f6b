"""Templates, origins and sources, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio

from tests.support.repositories import artifact, granted, job
from worker.core.attempt import Result
from worker.core.hook import HookCall
from worker.core.identity import SourceRecord
from worker.core.template import Origin
from worker.web.services import forget_old_intake

FILM = {"job": {"tasks": [{"module": "probe", "data": {"source": "{{ source.uri }}"}}]}}


def origin(job_id: str, fingerprint: str = "f" * 64, **values) -> Origin:
    defaults = {"template": "film", "version": 1, "source": "nas://a.mkv", "source_bytes": 100}
    return Origin(job_id=job_id, fingerprint=fingerprint, **(defaults | values))


async def test_a_template_has_versions_and_the_newest_is_meant(repository):
    assert await repository.template("film") is None
    first = await repository.put_template("film", FILM)
    assert (first.name, first.version, first.document) == ("film", 1, FILM)
    assert (await repository.put_template("film", FILM)).version == 1
    second = await repository.put_template("film", FILM | {"description": "two"})
    assert second.version == 2
    assert await repository.template("film") == second
    assert await repository.template("film", 1) == first
    await repository.put_template("a-song", FILM)
    assert [(one.name, one.version) for one in await repository.templates()] == [("a-song", 1), ("film", 2)]


async def test_a_deleted_template_is_gone_and_its_versions_are_never_used_again(repository):
    await repository.put_template("film", FILM)
    assert await repository.delete_template("film")
    assert not await repository.delete_template("film")
    assert await repository.template("film") is None
    assert await repository.templates() == []
    assert (await repository.template("film", 1)).document == FILM
    assert (await repository.put_template("film", FILM)).version == 3


async def test_two_who_store_at_once_make_two_versions(repository):
    stored = await asyncio.gather(*(repository.put_template("film", FILM | {"description": str(n)}) for n in range(6)))
    assert sorted(one.version for one in stored) == [1, 2, 3, 4, 5, 6]


async def test_origins_say_what_became_of_a_source(repository):
    attempt = await granted(repository, a_job=job("j1"))
    await repository.complete(attempt, Result((artifact("file:///out/a.mp4"),)))
    await repository.submit(job("j2"), "d" * 64, "cpu", "normal")
    await repository.note_origins([origin("j1"), origin("j2", "e" * 64), origin("j3", "e" * 64, template="other")])
    await repository.note_origins([origin("j1", "0" * 64)])
    found = await repository.origins("film", ["f" * 64, "e" * 64, "0" * 64])
    assert {(one.origin.job_id, one.state) for one in found} == {("j1", "completed"), ("j2", "queued")}
    assert [one.state for one in await repository.origins("other", ["e" * 64])] == ["gone"]
    assert await repository.origins("film", []) == []
    kept = await repository.origin("j2")
    assert (kept.fingerprint, kept.asked_by, kept.made_at is not None) == ("e" * 64, "submit", True)
    assert await repository.origin("j9") is None
    (saved,) = await repository.savings("film", 10)
    assert (saved.origin.job_id, saved.origin.source_bytes, saved.bytes) == ("j1", 100, 12)


async def test_a_source_is_known_again_until_nobody_has_seen_it_for_long(repository):
    first = SourceRecord(uri="nas://a.mkv", bytes=5_000_000_000, modified=1.5, version="5-1", fingerprint="f" * 64)
    other = SourceRecord(uri="nas://b\x00.mkv", bytes=1, modified=2.0, version="1-2", facts={"duration": 2.5})
    await repository.remember([other, first])
    known = await repository.sources(["nas://a.mkv", "nas://none.mkv"])
    assert {uri: one.model_copy(update={"seen_at": None}) for uri, one in known.items()} == {"nas://a.mkv": first}
    assert known["nas://a.mkv"].is_still(first)
    changed = first.model_copy(update={"version": "5-2", "fingerprint": None, "health": ""})
    assert not known["nas://a.mkv"].is_still(changed)
    await repository.remember([changed])
    again = (await repository.sources(["nas://a.mkv"]))["nas://a.mkv"]
    assert (again.version, again.fingerprint, again.facts, again.health) == ("5-2", None, None, "")
    assert await repository.forget_sources(3600) == 0
    assert await repository.forget_sources(-1) == 2
    assert await repository.sources(["nas://a.mkv"]) == {}


async def test_a_call_of_a_hook_is_known_until_it_is_old(repository):
    call = HookCall(hook="film", digest="d" * 64, event="push", outcome="submitted", subject="a", job_id="j1")
    await repository.note_call(call)
    assert await repository.forget_calls(3600) == 0
    assert [one.job_id for one in await repository.hook_calls("film", 10)] == ["j1"]
    assert await repository.forget_calls(-1) == 1
    assert await repository.hook_calls("film", 10) == []


async def test_the_server_forgets_old_calls_and_sources_and_no_new_ones(repository, monkeypatch):
    await repository.note_call(HookCall(hook="film", digest="d" * 64, event="push", outcome="submitted", subject="a"))
    await repository.remember([SourceRecord(uri="nas://a.mkv", bytes=1, modified=1.5, version="5-1")])
    await forget_old_intake(repository)
    assert await repository.hook_calls("film", 10)
    assert await repository.sources(["nas://a.mkv"])
    monkeypatch.setattr("worker.web.services.INTAKE_KEPT_SECONDS", -1)
    await forget_old_intake(repository)
    assert await repository.hook_calls("film", 10) == []
    assert await repository.sources(["nas://a.mkv"]) == {}
