"""Answers that come line by line, and the event streams: who is slow, goes away or may no more, holds nothing up."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

from tests.support.web import site
from worker.core.errors import StorageUnavailable
from worker.core.views import Changes
from worker.web import guard, streaming
from worker.web.access import COOKIE, digest_of
from worker.web.pulse import Pulse, Signal
from worker.web.streaming import Lines, stream_lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    import pytest

    from tests.support.web import Site

LOOK = {
    "job": {"job_title": "{{ source.stem }}", "tasks": [{"module": "probe", "data": {"source": "{{ source.uri }}"}}]}
}
DEADLINE = 20


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line]


async def test_each_source_gets_a_line_and_the_last_line_says_that_all_were_sent(tmp_path: Path) -> None:
    (tmp_path / "nas" / "in").mkdir(parents=True)
    for name in ("a.mkv", "b.mkv", "c.txt"):
        (tmp_path / "nas" / "in" / name).write_text(name)
    async with site(tmp_path) as here, here.client() as client:
        await client.put("/api/v1/templates/look", json=LOOK)
        asked = {"sources": ["nas://in/*.mkv", "nas://in/none.mkv"]}
        counted = lines((await client.post("/api/v1/templates/look/count", json=asked)).text)
        assert counted[-2]["counted"]["named"] == 1
        assert counted[-2]["counted"]["patterns"][0] | {"bytes": 0} == {
            "files": 3, "matching": 2, "bytes": 0, "done": 0, "unreadable": 0,
        }  # fmt: skip
        answer = await client.post("/api/v1/templates/look/jobs/stream", json=asked)
        assert answer.headers["content-type"] == streaming.MEDIA_TYPE
        made = lines(answer.text)
        assert [next(iter(one)) for one in made] == ["made", "made", "failed", "end"]
        assert {one["made"]["source"] for one in made[:2]} == {"nas://in/a.mkv", "nas://in/b.mkv"}
        nothing = lines((await client.post("/api/v1/templates/look/count", json={"sources": ["nas://in/*.mov"]})).text)
        assert nothing[-1]["problem"]["type"] == "urn:leveret:Refused"
        assert "nothing matches" in nothing[-1]["problem"]["detail"]
        assert (await client.post("/api/v1/templates/none/count", json=asked)).status_code == 404


async def test_a_client_that_goes_away_ends_the_work_behind_its_answer(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def work(lines: Lines) -> None:
            try:
                while True:
                    await lines.add("made", {"source": "x" * 1000})
                    begun.set()
            finally:
                ended.set()

        answer = stream_lines(here.services, work)
        assert b"made" in await anext(answer.body_iterator)
        await asyncio.wait_for(begun.wait(), DEADLINE)
        # Nobody reads: the work waits, and holds no more than a hundred lines.
        assert here.services.streaming == 1
        await answer.body_iterator.aclose()
        await asyncio.wait_for(ended.wait(), DEADLINE)
        assert here.services.streaming == 0


async def test_too_much_at_once_is_refused_and_a_fault_in_the_middle_is_the_last_line(tmp_path: Path) -> None:
    async with site(tmp_path) as here:

        async def broken(lines: Lines) -> None:
            await lines.add("made", {})
            raise StorageUnavailable("the mount is away")

        sent = [json.loads(line) async for line in stream_lines(here.services, broken).body_iterator]
        assert sent[-1]["problem"]["detail"] == "the mount is away"
        here.services.streaming = streaming.MAX_AT_ONCE
        async with here.client() as client:
            refused = await client.post("/api/v1/templates/poster/count", json={"sources": ["nas://a"]})
        assert refused.status_code == 503


async def test_a_long_silence_has_signs_of_life_and_a_server_that_ends_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "BEAT_SECONDS", 0.01)
    async with site(tmp_path) as here:
        answer = stream_lines(here.services, lambda _: asyncio.sleep(1000))
        assert await anext(answer.body_iterator) == b"\n"
        here.services.pulse.stop()
        last = [line async for line in answer.body_iterator][-1]
        assert json.loads(last)["problem"]["status"] == 503


async def opened(here: Site, path: str, **headers: str) -> tuple[asyncio.Task[None], asyncio.Queue[Any]]:
    """Return a request that a browser keeps open, and what it receives."""
    received: asyncio.Queue[Any] = asyncio.Queue()
    stated = {"host": "127.0.0.1:8080"} | headers
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "scheme": "http", "http_version": "1.1", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8080),
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "headers": [(name.encode(), value.encode()) for name, value in stated.items()],
    }  # fmt: skip
    begun = asyncio.Event()

    async def receive() -> Any:
        if not begun.is_set():
            begun.set()
            return {"type": "http.request", "body": b"", "more_body": False}
        return await asyncio.Event().wait()

    return asyncio.create_task(here.application(scope, receive, received.put)), received


async def test_an_open_stream_of_a_revoked_token_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "REVOKED_SECONDS", 0.0)
    file = tmp_path / "tokens"
    anna, bob = (f"viewer:{name}:{digest_of(f'lvt_{name}')}\n" for name in ("anna", "bob"))
    file.write_text(anna + bob)
    async with site(tmp_path, serve_tokens_file=file) as here:
        asked = {"anna": {"authorization": "Bearer lvt_anna"}, "by cookie": {"cookie": f"{COOKIE}=lvt_anna"}}
        open_streams = [await opened(here, "/api/v1/events", **headers) for headers in asked.values()]
        open_streams.append(await opened(here, "/api/v1/events", authorization="Bearer lvt_bob"))
        async with asyncio.timeout(DEADLINE):
            for _, received in open_streams:
                assert (await received.get())["status"] == 200
                while b"here" not in (await received.get())["body"]:
                    pass
            file.write_text(bob)
            await here.submit("a-job")
            await asyncio.gather(*(task for task, _ in open_streams[:2]))
            for _, received in open_streams[:2]:
                last = [received.get_nowait() for _ in range(received.qsize())][-1]
                assert last == {"type": "http.response.body", "body": b"", "more_body": False}
            kept, received = open_streams[2]
            while b"change" not in (await received.get())["body"]:
                pass
        assert not kept.done()
        kept.cancel()
        await asyncio.gather(kept, return_exceptions=True)


async def test_ten_tabs_over_a_days_worth_of_changes_each_see_the_last_one_and_keep_none() -> None:
    changes, shown = 4320, count()
    seen: list[list[str]] = [[] for _ in range(10)]

    async def look(_: object) -> Changes:
        return Changes(fleet=str(min(next(shown), changes)))

    pulse = Pulse(look, 0.0)

    async def tab(number: int) -> None:
        watch: AsyncIterator[Signal] = pulse.watch(frozenset())
        async for signal in watch:
            seen[number] = [*seen[number][-1:], signal.version]
            if signal.version == str(changes):
                break
            if number:
                # Some draw slowly: they miss changes, and never the last one.
                for _ in range(number):
                    await asyncio.sleep(0)

    async with asyncio.timeout(120):
        await asyncio.gather(*map(tab, range(10)))
    assert {versions[-1] for versions in seen} == {str(changes)}
    await pulse.close()


async def test_a_watcher_who_does_not_read_for_long_gets_the_newest_state_and_not_what_was_between() -> None:
    shown = count()

    async def look(_: object) -> Changes:
        return Changes(fleet=str(next(shown)))

    pulse = Pulse(look, 0.0)
    slow, quick = pulse.watch(frozenset()), pulse.watch(frozenset())
    first = await anext(slow)
    for _ in range(1000):
        newest = await anext(quick)
    second = await anext(slow)
    assert int(second.version) >= int(newest.version) > int(first.version) + 500
    await pulse.close()


async def test_a_look_that_takes_long_makes_no_change_out_of_nothing() -> None:
    going = asyncio.Event()

    async def look(watched: Iterable[str]) -> Changes:
        names = list(watched)
        if names:
            await going.wait()
        return Changes(fleet="a", jobs=dict.fromkeys(names, "as it was"))

    pulse = Pulse(look, 0.01)
    everything = pulse.watch(frozenset())
    await anext(everything)
    one = pulse.watch(frozenset({"a-job"}), beat=0.01)
    assert await anext(one) == Signal("")
    going.set()
    async for signal in one:
        assert not signal.changed
        if signal.version:
            break
    assert await anext(one) == signal
    await pulse.close()


async def test_ages_are_right_where_the_clocks_of_server_and_database_are_hours_apart(tmp_path: Path) -> None:
    async with site(tmp_path) as here, here.client() as client:
        await here.beat("render-1")
        await here.submit("a-job")
        await here.services.sample()
        assert abs(here.services.ahead_seconds) < 1
        # What was written down just now was two hours ago, by a host whose clock is ahead: and is not shown so.
        ahead = datetime.now(UTC) + timedelta(hours=2)
        here.services.ahead_seconds = 7200.0
        assert abs((here.services.now - ahead).total_seconds()) < 60
        for path in ("/", "/fleet", "/fleet/render-1"):
            assert "2 h ago" in (await client.get(path)).text, path
        here.services.ahead_seconds = -7200.0
        for path in ("/", "/fleet", "/fleet/render-1"):
            page = (await client.get(path)).text
            assert "0 s ago" in page, path
            assert "-" not in page.partition(" ago")[0][-8:], path
