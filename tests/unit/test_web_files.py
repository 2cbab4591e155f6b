"""Files over the API: ranges, types, and nothing outside the roots."""

from __future__ import annotations

import asyncio
import base64
import os
from contextlib import suppress

import pytest

from tests.support.web import site
from worker.adapters.storage.nas.uploads import NasUploads
from worker.core.upload_name import safe_name
from worker.web.ranges import Part, Unsatisfiable, part_of

BODY = bytes(range(256)) * 40
ESCAPES = [
    "../secret", "..%2fsecret", "%2e%2e/secret", "a/../../secret", "....//secret", "%2e%2e%2fsecret", "..\\secret",
    "/etc/passwd", "//etc/passwd", "link", "folder/secret", "pipe", ".leveret-upload-x", "%00", "a%00.mp4", "",
]  # fmt: skip


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-9", Part(0, 10)), ("bytes=10-", Part(10, 90)), ("bytes=-5", Part(95, 5)),
        ("bytes=-500", Part(0, 100)),
        ("bytes=0-1000", Part(0, 100)), ("bytes=0-0,5-6", None), ("bytes=9-3", None), ("items=0-1", None), (None, None),
        ("bytes=-", None), ("bytes=" + "9" * 40 + "-", None),
    ],
)  # fmt: skip
def test_a_range_is_one_part_or_the_whole(header, part):
    assert part_of(header, 100) == part


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=-0", "bytes=200-300"])
def test_a_range_behind_the_end_is_unsatisfiable(header):
    with pytest.raises(Unsatisfiable):
        part_of(header, 100)


async def test_a_file_is_sent_whole_in_parts_and_not_at_all_when_it_is_known(tmp_path):
    (tmp_path / "nas").mkdir()
    (tmp_path / "nas" / "a film.mp4").write_bytes(BODY)
    async with site(tmp_path) as here, here.client() as client:
        address = "/api/v1/files/nas/a%20film.mp4"
        whole = await client.get(address)
        assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, BODY, "video/mp4")
        assert whole.headers["accept-ranges"] == "bytes"
        part = await client.get(address, headers={"Range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, BODY[100:200])
        assert part.headers["content-range"] == f"bytes 100-199/{len(BODY)}"
        head = await client.head(address)
        assert (head.headers["content-length"], head.content) == (str(len(BODY)), b"")
        assert (await client.get(address, headers={"If-None-Match": whole.headers["etag"]})).status_code == 304
        late = await client.get(address, headers={"Range": f"bytes={len(BODY)}-"})
        assert (late.status_code, late.headers["content-range"]) == (416, f"bytes */{len(BODY)}")
        other = await client.get(address, headers={"Range": "bytes=0-1", "If-Range": '"another"'})
        assert (other.status_code, len(other.content)) == (200, len(BODY))


@pytest.mark.parametrize("escape", ESCAPES)
@pytest.mark.parametrize("scheme", ["nas", "file"])
async def test_nothing_outside_the_roots_is_sent(tmp_path, escape, scheme):
    nas = tmp_path / "nas"
    (nas / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_text("SECRET")
    (nas / "link").symlink_to(tmp_path / "secret")
    (nas / "out-of-it").symlink_to(tmp_path)
    os.mkfifo(nas / "pipe")
    async with site(tmp_path) as here, here.client() as client:
        prefix = "nas/" if scheme == "nas" else f"file{nas}/"
        for path in (escape, f"out-of-it/{escape}"):
            answer = await client.get(f"/api/v1/files/{prefix}{path}")
            assert answer.status_code in {400, 403, 404, 409, 422}, (path, answer.status_code)
            assert "SECRET" not in answer.text
            assert "root:" not in answer.text


async def test_a_file_that_is_a_page_runs_nothing(tmp_path):
    (tmp_path / "nas").mkdir()
    for name in ("a.html", "a.svg", "a.xml", "a.js"):
        (tmp_path / "nas" / name).write_text("<script>alert(1)</script>")
    async with site(tmp_path) as here, here.client() as client:
        for name in ("a.html", "a.svg", "a.xml", "a.js"):
            answer = await client.get(f"/api/v1/through/nas/{name}")
            assert answer.headers["content-disposition"].startswith("attachment")
            assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
            assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_folder_is_listed_without_links_and_hidden_names(tmp_path):
    nas = tmp_path / "nas"
    (nas / "movies").mkdir(parents=True)
    (nas / "b.mkv").write_bytes(b"12345")
    (nas / ".hidden").write_text("")
    (nas / "link.mkv").symlink_to(nas / "b.mkv")
    async with site(tmp_path) as here, here.client() as client:
        found = (await client.get("/api/v1/browse", params={"folder": "nas://"})).json()
        assert [(one["name"], one["uri"], one["bytes"]) for one in found["entries"]] == [
            ("movies", "nas://movies/", None), ("b.mkv", "nas://b.mkv", 5),
        ]  # fmt: skip
        assert found["above"] is None
        inner = (await client.get("/api/v1/browse", params={"folder": "nas://movies/"})).json()
        assert (inner["entries"], inner["above"]) == ([], "nas://")
        assert "b.mkv" in (await client.get("/new/browse", params={"folder": "nas://"})).text
        for folder in ("nas://../", "/etc/", "nas://none/", "https://example.org/", "relative/"):
            assert (await client.get("/api/v1/browse", params={"folder": folder})).status_code in {403, 404, 422}


TUS = {"Tus-Resumable": "1.0.0"}


def metadata(name: str) -> str:
    return "filename " + base64.b64encode(name.encode()).decode()


async def begin(client, name: str, size: int) -> str:
    headers = TUS | {"Upload-Length": str(size), "Upload-Metadata": metadata(name)}
    answer = await client.post("/api/v1/uploads", headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


async def send(client, address: str, offset: int, content):
    headers = TUS | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
    return await client.patch(address, headers=headers, content=content)


async def test_an_upload_goes_on_from_where_it_was_cut_and_is_seen_only_when_it_is_whole(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        address = await begin(client, "my film.mkv", len(BODY))
        assert (await send(client, address, 0, BODY[:1000])).headers["upload-offset"] == "1000"

        async def cut():
            yield BODY[1000:1500]
            raise ConnectionError

        assert (await send(client, address, 1000, cut())).status_code == 500
        assert [entry.name for entry in (tmp_path / "nas" / "uploads").iterdir() if entry.name[0] != "."] == []
        # Another browser, another server: what is on the disk says how far it came.
        head = await client.head(address, headers=TUS)
        offset = int(head.headers["upload-offset"])
        assert 1000 <= offset <= 1500
        assert (await send(client, address, 0, b"x")).status_code == 409
        done = await send(client, address, offset, BODY[offset:])
        assert done.status_code == 204
        uri = base64.b64decode(done.headers["upload-uri-base64"]).decode()
        assert uri == "nas://uploads/my film.mkv"
        assert (tmp_path / "nas" / "uploads" / "my film.mkv").read_bytes() == BODY
        assert (await client.head(address, headers=TUS)).status_code == 404
        entries = (await client.get("/api/v1/audit")).json()["entries"]
        assert [entry["action"] for entry in entries] == ["upload.finish", "upload.begin"]


async def test_pieces_of_one_upload_that_come_at_once_are_written_one_after_another(tmp_path):
    """A connection that broke may still be read while the client asks again, and again."""
    (tmp_path / "nas").mkdir()
    store = NasUploads(tmp_path / "nas", "uploads", most_bytes=1 << 20, seconds=3600)
    upload = await store.begin("film.mkv", 10, "somebody")
    sending, broken, together = asyncio.Event(), asyncio.Event(), asyncio.Barrier(2)

    async def stalled():
        sending.set()
        await broken.wait()
        yield b""
        raise ConnectionResetError

    async def slow():
        yield b"01234"
        with suppress(TimeoutError, asyncio.BrokenBarrierError):
            async with asyncio.timeout(0.2):
                await together.wait()
        yield b"56789"

    async def first():
        with pytest.raises(ConnectionResetError):
            await store.append(upload.upload_id, 0, stalled())
        # Whoever waits for the first to end has not gone on yet.
        return await store.append(upload.upload_id, 0, slow())

    one = asyncio.create_task(first())
    await sending.wait()
    two = asyncio.create_task(store.append(upload.upload_id, 0, slow()))
    await asyncio.sleep(0)
    broken.set()
    results = await asyncio.gather(one, two, return_exceptions=True)
    assert sorted(isinstance(found, Exception) for found in results) == [False, True], results
    assert [path.read_bytes() for path in (tmp_path / "nas" / "uploads").iterdir()] == [b"0123456789"]
    assert not store._locks


async def test_two_uploads_of_one_name_are_two_files(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        for expected in ("a.mkv", "a-2.mkv"):
            done = await send(client, await begin(client, "a.mkv", 3), 0, b"abc")
            assert base64.b64decode(done.headers["upload-uri-base64"]).decode() == f"nas://uploads/{expected}"


async def test_an_upload_has_its_bounds(tmp_path):
    async with site(tmp_path, upload_bytes=100) as here, here.client() as client:
        headers = TUS | {"Upload-Length": "101", "Upload-Metadata": metadata("a")}
        assert (await client.post("/api/v1/uploads", headers=headers)).status_code == 422
        address = await begin(client, "a", 10)
        assert (await send(client, address, 0, b"x" * 11)).status_code == 422
        assert (await client.post("/api/v1/uploads", headers={"Upload-Length": "5"})).status_code == 412
        assert (await client.head("/api/v1/uploads/../../etc", headers=TUS)).status_code in {404, 405}
        assert (await client.delete(address, headers=TUS)).status_code == 204
        assert list((tmp_path / "nas" / "uploads").iterdir()) == []


async def test_an_upload_that_nobody_continues_is_removed(tmp_path):
    async with site(tmp_path, upload_hours=1) as here, here.client() as client:
        await begin(client, "old.mkv", 10)
        young = await begin(client, "young.mkv", 10)
        folder = tmp_path / "nas" / "uploads"
        for entry in folder.iterdir():
            if young.rpartition("/")[2] not in entry.name:
                os.utime(entry, (1_000_000, 1_000_000))
        assert await here.services.uploads.sweep() == 1
        assert {entry.name.removesuffix(".json") for entry in folder.iterdir()} == {
            f".leveret-upload-{young.rpartition('/')[2]}"
        }


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("film.mkv", "film.mkv"), ("../../etc/passwd", "passwd"), ("C:\\films\\a.mkv", "a.mkv"), ("-i.mkv", "i.mkv"),
        (".leveret", "leveret"), ("", "upload"), ("...", "upload"), ("a\nb.mkv", "a_b.mkv"),
        ("film é.mkv", "film é.mkv"),
        ("a:b|c.mkv", "a_b_c.mkv"), ("$(id).mkv", "(id).mkv"),
    ],
)  # fmt: skip
def test_an_uploaded_file_gets_a_name_that_every_program_can_take(given, kept):
    assert safe_name(given) == kept


def test_a_long_name_keeps_its_suffix():
    name = safe_name("x" * 400 + ".mkv")
    assert name.endswith("x.mkv")
    assert len(name.encode()) <= 180
