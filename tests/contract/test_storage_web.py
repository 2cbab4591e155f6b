"""What the web can do to a download, and to us: broken answers, redirects, names that lead inside."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from contextlib import ExitStack

import pytest

from tests.support.http_files import Site, certificates, serving
from tests.support.loop import unharmed
from tests.support.storages import Maker, external
from worker.adapters.storage.web import WebSource
from worker.adapters.storage.web.posting import post_json
from worker.core.errors import BadInput, RefusedPath, SourceMissing, StorageUnavailable, TimedOut

CONTENT = os.urandom(300_000)
HALF = len(CONTENT) // 2


@pytest.fixture
def site():
    with serving(Site(CONTENT)) as one:
        yield one


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secure(tls):
    with serving(Site(CONTENT), tls[0]) as one:
        yield one


@pytest.fixture
def source() -> WebSource:
    return WebSource(allow_private=True, attempts=4, first_wait=0.001, seconds=5)


def only_localhost(address: str) -> bool:
    return address in {"127.0.0.1", "::1"}


@pytest.fixture
def strict(tls) -> WebSource:
    """A source that takes this host's first address for public, and nothing else: neither http nor 127.0.0.2."""
    return WebSource(permitted=only_localhost, tls=tls[1], attempts=2, first_wait=0.001, seconds=5)


async def fetched(source: WebSource, url: str, folder) -> bytes:
    path = await source.fetch(external(url), folder / "in" / "file.mp4")
    assert [one.name for one in (folder / "in").iterdir()] == ["file.mp4"]
    return path.read_bytes()


async def refused(source: WebSource, url: str, folder, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        await source.fetch(external(url), folder / "in" / "file.mp4")
    assert not (folder / "in").exists() or list((folder / "in").iterdir()) == []


@pytest.mark.parametrize(
    ("script", "ranges"),
    [
        (["ok"], [None]),
        (["chunked"], [None]),
        (["503", "429", "ok"], [None, None, None]),
        (["cut", "ok"], [None, f"bytes={HALF}-"]),
        (["cut", "cut", "ok"], [None, f"bytes={HALF}-", f"bytes={HALF + HALF // 2}-"]),
        (["cut", "500", "ok"], [None, f"bytes={HALF}-", f"bytes={HALF}-"]),
        (["cut", "shifted", "ok"], [None, f"bytes={HALF}-", None]),
        (["cut", "416", "ok"], [None, f"bytes={HALF}-", None]),
    ],
    ids=str,
)
async def test_a_broken_download_goes_on_where_it_broke(site, source, tmp_path, script, ranges):
    site.script = list(script)
    assert await fetched(source, f"{site.url}/film.mp4", tmp_path) == CONTENT
    assert site.ranges_asked == ranges


async def test_a_file_that_changed_between_two_tries_is_read_anew(site, source, tmp_path):
    other = os.urandom(len(CONTENT))

    def change(one: Site) -> None:
        one.content, one.tag = other, '"v2"'

    site.script, site.change = ["cut", "ok"], change
    assert await fetched(source, f"{site.url}/film.mp4", tmp_path) == other


@pytest.mark.parametrize("tag", [None, 'W/"v1"'])
async def test_without_proof_of_sameness_it_begins_anew(site, source, tmp_path, tag):
    site.tag, site.script = tag, ["cut", "ok"]
    assert await fetched(source, f"{site.url}/film.mp4", tmp_path) == CONTENT
    assert site.ranges_asked == [None, None]


async def test_a_server_without_ranges_is_read_anew(site, source, tmp_path):
    site.ranges, site.script = False, ["cut", "ok"]
    assert await fetched(source, f"{site.url}/film.mp4", tmp_path) == CONTENT
    assert site.ranges_asked == [None, f"bytes={HALF}-"]


@pytest.mark.parametrize(
    ("script", "kind", "match"),
    [
        (["cut"] * 9, StorageUnavailable, "bytes had come"),
        (["503"] * 9, StorageUnavailable, "HTTP 503"),
        (["torn"] * 9, StorageUnavailable, "localhost"),
        (["endless"], StorageUnavailable, "how long"),
        (["packed"], StorageUnavailable, "encoded"),
        (["404"], SourceMissing, "does not exist"),
        (["410"], SourceMissing, "does not exist"),
        (["403"], StorageUnavailable, "HTTP 403"),
        (["401"], StorageUnavailable, "HTTP 401"),
        (["304"], StorageUnavailable, "HTTP 304"),
    ],
    ids=str,
)
async def test_a_download_that_cannot_be_whole_is_refused(site, source, tmp_path, script, kind, match):
    site.script = list(script)
    await refused(source, f"{site.url}/film.mp4?X-Signature=planted", tmp_path, kind, match)


async def test_more_than_was_promised_is_not_taken(site, source, tmp_path):
    site.script = ["long"]
    assert await fetched(source, f"{site.url}/film.mp4", tmp_path) == CONTENT


@pytest.mark.parametrize("word", ["ok", "chunked"])
async def test_a_file_over_the_limit_is_bad_input(site, tmp_path, word):
    site.script = [word]
    source = WebSource(allow_private=True, max_bytes=len(CONTENT) - 1)
    await refused(source, f"{site.url}/film.mp4", tmp_path, BadInput, "bytes")


async def test_a_download_has_its_time(site, tmp_path):
    site.script = ["503"] * 50
    source = WebSource(allow_private=True, attempts=50, first_wait=5, total_seconds=0.2)
    await refused(source, f"{site.url}/film.mp4", tmp_path, TimedOut, "was not here")


async def test_a_silent_server_does_not_hold_us_for_ever(tmp_path):
    source = WebSource(allow_private=True, attempts=2, first_wait=0.001, seconds=0.1)
    # The kernel takes the connection for a listener that never looks.
    with socket.create_server(("127.0.0.1", 0)) as quiet:
        port = quiet.getsockname()[1]
        await refused(source, f"http://127.0.0.1:{port}/a", tmp_path, StorageUnavailable, "in time")


async def test_a_head_that_comes_byte_by_byte_is_given_up():
    answering: set[asyncio.Task[None] | None] = set()

    async def trickle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.current_task())
        with contextlib.suppress(OSError):
            while not writer.is_closing():
                writer.write(b"H")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    source = WebSource(allow_private=True, seconds=5, total_seconds=0.3)
    async with await asyncio.start_server(trickle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(StorageUnavailable, match="in time"):
            await asyncio.wait_for(source.stat(external(f"http://127.0.0.1:{port}/a")), 60)
        await asyncio.wait_for(asyncio.gather(*[task for task in answering if task]), 60)


async def test_the_answer_to_a_callback_is_not_read_however_long_it_is():
    sent, gone = 0, asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with contextlib.suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
            while not writer.is_closing():
                writer.write(bytes(1 << 20))
                sent += 1 << 20
                await writer.drain()
        writer.close()
        gone.set()

    async with await asyncio.start_server(endless, "127.0.0.1", 0) as server, unharmed():
        port = server.sockets[0].getsockname()[1]
        await asyncio.wait_for(post_json(f"http://127.0.0.1:{port}/", "{}", allow_private=True), 60)
        await asyncio.wait_for(gone.wait(), 60)
    assert sent < 64 << 20


async def test_an_empty_file_is_fetched_and_known_to_be_empty(site, source, tmp_path):
    site.content = b""
    assert await fetched(source, f"{site.url}/film.mp4", tmp_path) == b""
    assert (await source.stat(external(f"{site.url}/film.mp4"))).bytes == 0


@pytest.mark.parametrize("ranges", [True, False])
async def test_stat_states_size_and_type(site, source, ranges):
    site.ranges = ranges
    found = await source.stat(external(f"{site.url}/film.mp4"))
    assert (found.bytes, found.media_type) == (len(CONTENT), "video/mp4")
    site.script = ["404"]
    assert await source.stat(external(f"{site.url}/film.mp4")) is None


async def test_redirects_are_followed_five_times_and_no_more(site, source, tmp_path):
    site.script = ["to /b", f"to {site.url}/c", "to /d?x=1", "to e", "to ./f"]
    assert await fetched(source, f"{site.url}/a", tmp_path) == CONTENT
    assert [one["target"] for one in site.asked] == ["/a", "/b", "/c", "/d?x=1", "/e", "/f"]
    site.script = ["to /again"] * 6
    with pytest.raises(StorageUnavailable, match="5 redirects"):
        await source.fetch(external(f"{site.url}/a"), tmp_path / "again")


async def test_the_name_is_kept_for_tls_and_host_though_the_address_is_pinned(secure, strict, tmp_path):
    assert await fetched(strict, f"{secure.url}/film.mp4", tmp_path) == CONTENT
    assert secure.asked[0]["Host"] == secure.url.removeprefix("https://")


async def test_a_certificate_for_another_name_is_not_taken(secure, strict, tmp_path):
    url = secure.url.replace("localhost", "127.0.0.1")
    await refused(strict, f"{url}/film.mp4", tmp_path, StorageUnavailable, "127.0.0.1")
    assert secure.asked == []


@pytest.mark.parametrize(
    "target",
    [
        "https://127.0.0.2:{port}/x",
        "https://2130706434:{port}/x",
        "https://0x7f000002:{port}/x",
        "https://127.2:{port}/x",
        "https://[::ffff:127.0.0.2]:{port}/x",
        "//127.0.0.2:{port}/x",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/x",
        "https://0.0.0.0:{port}/x",
        "https://user:planted@localhost:{port}/x",
        "http://localhost:{port}/x",
        "ftp://localhost/x",
        "file:///etc/passwd",
        "gopher://localhost:{port}/x",
        "https://127.0.0.1\\@localhost:{port}/x",
    ],
)
async def test_a_redirect_is_judged_like_the_first_address(secure, strict, tmp_path, target):
    port = secure.url.rpartition(":")[2]
    secure.script = ["to " + target.format(port=port)]
    with pytest.raises(RefusedPath) as caught:
        await strict.fetch(external(f"{secure.url}/a"), tmp_path / "x")
    assert "planted" not in str(caught.value)
    assert len(secure.asked) == 1


@pytest.mark.parametrize("target", ["https://0177.0.0.2/x", "https://[::1/x", "https://localhost:port/x"])
async def test_a_redirect_to_what_is_no_url_is_not_followed(secure, strict, tmp_path, target):
    secure.script = ["to " + target] * 9
    await refused(strict, f"{secure.url}/a", tmp_path, StorageUnavailable, "[Uu][Rr][Ll]|redirect")
    assert [one["target"] for one in secure.asked] == ["/a", "/a"]


async def test_a_name_that_changes_its_meaning_is_asked_for_once(secure, strict, tmp_path, monkeypatch):
    answers = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1", "10.0.0.1"]]
    names = []

    async def getaddrinfo(_loop, name, _port, **_options):
        names.append(name)
        return [(2, 1, 6, "", (address, 0)) for address in answers.pop(0)]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    assert await fetched(strict, f"{secure.url}/film.mp4", tmp_path) == CONTENT
    assert names == ["localhost"]
    for rebound in ("127.0.0.2", "10.0.0.1"):
        with pytest.raises(RefusedPath, match=rebound):
            await strict.fetch(external(f"{secure.url}/film.mp4"), tmp_path / "x")
    assert len(secure.asked) == 1


async def test_a_name_that_nobody_knows_is_reported(source, tmp_path, monkeypatch):
    await refused(source, "http://no-such-host.invalid/a", tmp_path, StorageUnavailable, "is not known")


async def test_nothing_is_written_or_deleted_on_the_web(source, tmp_path):
    place = external("https://example.com/a.mp4")
    artifact = Maker(tmp_path)(place, b"x")
    with pytest.raises(RefusedPath, match="only be read"):
        source.admit(place, writing=True)
    for call in (source.stage([artifact]), source.reveal([artifact], source.check), source.delete(place)):
        with pytest.raises(RefusedPath, match="only be read"):
            await call
    await source.discard([artifact])
    await source.check()


def test_a_signed_url_is_shown_without_its_signature(source):
    assert source.url(external("https://h/a.mp4?X-Amz-Signature=planted")) == "https://h/a.mp4"
    assert source.url(external("https://h?sig=planted")) == "https://h/"


async def test_a_callback_is_posted_once_it_is_taken(site):
    site.script = ["503", "429", "204"]
    await post_json(f"{site.url}/hook", '{"state":"completed"}', allow_private=True, first_wait=0.001)
    assert site.posted == [b'{"state":"completed"}'] * 3
    assert site.asked[0]["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("script", "match", "posts"),
    [
        (["503"] * 9, "HTTP 503", 3),
        (["404"], "HTTP 404", 1),
        (["400"], "HTTP 400", 1),
        (["to /elsewhere"], "redirect", 1),
    ],
    ids=str,
)
async def test_a_callback_that_is_not_taken_is_given_up(site, script, match, posts):
    site.script = list(script)
    with pytest.raises(StorageUnavailable, match=match) as caught:
        await post_json(f"{site.url}/hook?key=planted", "{}", allow_private=True, attempts=3, first_wait=0.001)
    assert len(site.posted) == posts
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_callback_to_a_private_address_is_refused(tls, scheme):
    with ExitStack() as stack:
        site = stack.enter_context(serving(Site(b""), tls[0] if scheme == "https" else None))
        with pytest.raises(RefusedPath):
            await post_json(f"{site.url}/hook", "{}")
        assert site.asked == []


async def spans_of(source: WebSource, url: str, folder, spans, version: str | None = None) -> bytes:
    place, path = external(url), folder / "sparse"
    with path.open("wb") as file:
        file.truncate(len(CONTENT))
    stat = await source.stat(place)
    assert stat is not None
    await source.fetch_spans(place, version or stat.version, spans, path)
    return path.read_bytes()


@pytest.mark.parametrize(
    "script", [["ok", "ok", "ok"], ["ok", "cut", "ok", "503", "ok"], ["ok", "long", "ok"]], ids=str
)
async def test_spans_of_a_file_are_fetched_into_their_places(site, source, tmp_path, script):
    site.script = script
    made = await spans_of(source, site.url, tmp_path, [(10, 5000), (200_000, 300_000)])
    assert made == bytes(10) + CONTENT[10:5000] + bytes(195_000) + CONTENT[200_000:]
    assert {headers.get("If-Match") for headers in site.asked[1:]} == {'"v1"'}


@pytest.mark.parametrize(
    ("script", "change", "text"),
    [
        (["ok", "shifted"], {}, "another range"),
        (["ok", "packed"], {}, "encoded"),
        (["ok", "412"], {}, "412"),
        ([], {"ranges": False}, "sends no ranges"),
        ([], {"tag": '"v2"'}, "changed while it was read"),
        ([], {"content": CONTENT[:-1]}, "another range"),
    ],
)
async def test_a_server_that_sends_something_else_than_a_span_is_not_believed(
    site, source, tmp_path, script, change, text
):
    version = (await source.stat(external(site.url))).version
    site.script = script[1:]
    for name, value in change.items():
        setattr(site, name, value)
    path = tmp_path / "sparse"
    path.write_bytes(bytes(len(CONTENT)))
    with pytest.raises(StorageUnavailable, match=text):
        await source.fetch_spans(external(site.url), version, [(100, 200)], path)
    assert path.read_bytes() == bytes(len(CONTENT))


async def test_spans_are_not_fetched_from_an_address_inside(site, tmp_path):
    with pytest.raises(RefusedPath):
        await WebSource().fetch_spans(external(site.url), "9-x", [(0, 1)], tmp_path / "sparse")
