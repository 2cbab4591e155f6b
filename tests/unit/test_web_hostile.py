"""What a stranger, a viewer, a foreign page or someone with a share of the NAS may try with the server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from starlette.datastructures import Headers

from tests.support.web import TOKENS, site
from tests.unit.test_web_files import BODY, TUS, begin, metadata, send
from worker.adapters.storage.nas import uploads
from worker.web.guard import STRANGER_BYTES
from worker.web.pulse import MAX_WATCHED, Pulse

if TYPE_CHECKING:
    from pathlib import Path

OURS = {"Origin": "http://127.0.0.1:8080"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("path", ["/login", "/api/v1/jobs/bulk", "/api/v1/jobs", "/nowhere"])
async def test_a_stranger_sends_no_more_than_a_token(path: str, tmp_path: Path) -> None:
    async with site(tmp_path, tokens=True) as here, here.client() as client:
        for content in (b"&" * (STRANGER_BYTES + 1), b"[" * (1 << 20), pieces()):
            answer = await client.post(path, content=content, headers=OURS | FORM)
            assert answer.status_code in {400, 401, 404, 413}, path
            assert len(answer.content) < 10_000
        answer = await client.post("/login", data={"token": TOKENS["viewer"]}, headers=OURS)
        assert answer.status_code == 303


def names_in(folder: Path) -> set[str]:
    """Return what is directly in a folder."""
    return {entry.name for entry in folder.iterdir()}


async def pieces() -> Any:
    """Yield a body whose length nobody tells."""
    for _ in range(40):
        yield b"a=b&" * 1000


@pytest.mark.parametrize("sent_site", ["cross-site", "same-site"])
async def test_no_foreign_page_makes_a_browser_ask_in_silence(sent_site: str, tmp_path: Path) -> None:
    async with site(tmp_path) as here, here.client() as client:
        for path in ("/", "/settings?doctor=true", "/api/v1/jobs", "/api/v1/events", "/static/x/page.js"):
            for mode in ("no-cors", "cors", "websocket"):
                sent = {"Sec-Fetch-Site": sent_site, "Sec-Fetch-Mode": mode}
                assert (await client.get(path, headers=sent)).status_code == 403
        followed = {"Sec-Fetch-Site": sent_site, "Sec-Fetch-Mode": "navigate"}
        assert (await client.get("/", headers=followed)).status_code == 200


async def test_a_link_of_somebody_else_says_nothing_in_our_name(tmp_path: Path) -> None:
    words = "Your token has expired, ask evil.example for a new one"
    async with site(tmp_path) as here, here.client() as client:
        for sent, shown in (({"Sec-Fetch-Site": "same-origin"}, True), ({"Sec-Fetch-Site": "none"}, False),
                            ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, False)):  # fmt: skip
            page = (await client.get("/jobs", params={"done": words}, headers=sent)).text
            assert (words in page) is shown


async def test_header_lines_that_a_client_wrote_do_not_replace_its_address(tmp_path: Path) -> None:
    async with site(tmp_path, tokens=True, serve_trusted_proxies=("10.0.0.0/8",)) as here:
        scope = {"client": ("10.1.2.3", 1), "scheme": "http", "headers": []}
        lines = [(b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-proto", b"https")]
        added = [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"http")]
        found = here.application._origin_of(scope, Headers(raw=[*lines, *added]))
        assert found == ("203.0.113.9", "http")


@pytest.mark.parametrize(
    "stored",
    [
        {"name": "../../escaped.mkv", "bytes": 5, "owner": "x"}, {"name": "/escaped.mkv", "bytes": 5, "owner": "x"},
        {"name": ".leveret-x", "bytes": 5, "owner": "x"}, {"name": "a\u0000b", "bytes": 5, "owner": "x"},
    ],
)  # fmt: skip
async def test_a_name_that_was_changed_on_the_nas_leads_nowhere(stored: dict[str, Any], tmp_path: Path) -> None:
    async with site(tmp_path) as here, here.client() as client:
        address = await begin(client, "film.mkv", 5)
        before = names_in(tmp_path)
        folder = tmp_path / "nas" / "uploads"
        (info,) = folder.glob("*.json")
        info.write_text(json.dumps(stored))
        assert (await send(client, address, 0, b"bytes")).status_code == 204
        (made,) = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
        assert made.read_bytes() == b"bytes"
        assert names_in(tmp_path) == before


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"name": 1}', '{"name": "a", "bytes": "x"}', "[" * 60000])
async def test_facts_that_were_spoilt_on_the_nas_are_no_fault_of_ours(content: str, tmp_path: Path) -> None:
    async with site(tmp_path) as here, here.client() as client:
        address = await begin(client, "film.mkv", 5)
        (info,) = (tmp_path / "nas" / "uploads").glob("*.json")
        info.write_text(content)
        assert (await client.head(address, headers=TUS)).status_code == 404
        assert (await send(client, address, 0, b"bytes")).status_code == 404
        assert await begin(client, "other.mkv", 5)
        assert (await client.delete(address, headers=TUS)).status_code == 204


async def test_uploads_are_promised_no_more_than_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = uploads.KEPT_FREE + len(BODY)
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda _: type("Usage", (), {"free": room})())
    async with site(tmp_path) as here, here.client() as client:
        await begin(client, "a.mkv", len(BODY) - 10)
        headers = TUS | {"Upload-Metadata": metadata("b.mkv")}
        refused = await client.post("/api/v1/uploads", headers=headers | {"Upload-Length": "11"})
        assert (refused.status_code, "are promised" in refused.json()["detail"]) == (507, True)
        assert (await client.post("/api/v1/uploads", headers=headers | {"Upload-Length": "10"})).status_code == 201


async def test_watchers_name_no_more_jobs_than_one_look_can_ask_for() -> None:
    async def look(_: Any) -> Any:
        raise AssertionError("nobody looks")

    pulse = Pulse(look)
    many = frozenset(f"job-{number}" for number in range(50))
    for number in range(MAX_WATCHED // 50 - 1):
        pulse._watched[number] = many
    assert pulse.has_room(many)
    assert pulse.has_room(frozenset())
    pulse._watched[-1] = many
    assert not pulse.has_room(frozenset({"one-more"}))
    assert pulse.has_room(frozenset())


async def test_logs_are_followed_by_so_many_and_no_more(tmp_path: Path) -> None:
    async with site(tmp_path) as here, here.client() as client:
        await here.die("a-job")
        answer = await client.get("/api/v1/jobs/a-job/log/stream")
        assert (answer.status_code, here.services.followers) == (200, 0)
        here.services.followers = 200
        assert (await client.get("/api/v1/jobs/a-job/log/stream")).status_code == 503
