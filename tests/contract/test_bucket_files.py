"""Films in a private bucket, for browsers: ranges through the server, links, and uploads that pass it by."""

from __future__ import annotations

import httpx
import pytest

from tests.support.storages import S3Bench, external, s3_running
from tests.support.web import site
from worker.adapters.storage.s3.reading import S3Reader
from worker.adapters.storage.s3.uploads import S3Uploads
from worker.core.errors import InvalidJob, RefusedPath, SourceMissing, VerificationFailed

BODY = bytes(range(256)) * 4000
PART = 16 << 20


async def fetch(link: str, headers: dict[str, str] | None = None) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(link, headers=headers)


async def put(link: str, content: bytes) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60) as client:
        return await client.put(link, content=content)


@pytest.fixture(scope="module")
def s3_server(tmp_path_factory):
    with s3_running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bench(s3_server) -> S3Bench:
    return S3Bench(s3_server)


@pytest.fixture
def reader(bench) -> S3Reader:
    return S3Reader((bench.place(""),), bench.server.client)


@pytest.fixture
def uploads(bench) -> S3Uploads:
    return S3Uploads(bench.place(""), "uploads", most_bytes=1 << 30, connect=bench.server.client)


async def test_an_object_is_read_in_parts_and_linked_to(bench, reader):
    bench.put("film.mp4", BODY)
    file = await reader.open(bench.place("film.mp4"))
    assert (file.size, file.media_type) == (len(BODY), "video/mp4")
    assert b"".join([piece async for piece in file.read(300_000, 500_000)]) == BODY[300_000:800_000]
    link = await reader.link(bench.place("film.mp4"), 60)
    answer = await fetch(link, headers={"Range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, BODY[10:20])
    with pytest.raises(SourceMissing):
        await reader.open(bench.place("none.mp4"))
    for outside in (
        bench.outside(),
        external(f"s3://{bench.bucket}/library/.leveret-x"),
        external("s3://other/library/a"),
    ):
        with pytest.raises(RefusedPath):
            await reader.open(outside)
        with pytest.raises(RefusedPath):
            await reader.link(outside, 60)


async def test_a_prefix_is_a_folder(bench, reader):
    for key in ("b.mp4", "movies/a.mp4", ".leveret-hidden"):
        bench.put(key, b"x")
    found = await reader.entries(bench.place(""), 10)
    assert [(one.name, one.is_folder, one.bytes) for one in found] == [("movies", True, None), ("b.mp4", False, 1)]


async def test_the_server_redirects_to_the_bucket_or_passes_it_through(bench, reader, tmp_path):
    bench.put("a film.mp4", BODY)
    async with site(tmp_path) as here, here.client() as client:
        here.services.readers = {"s3": reader}
        path = f"s3/{bench.bucket}/library/a%20film.mp4"
        redirected = await client.get(f"/api/v1/files/{path}")
        assert redirected.status_code == 307
        assert redirected.headers["cache-control"] == "no-store"
        assert (await fetch(redirected.headers["location"])).content == BODY
        passed = await client.get(f"/api/v1/through/{path}", headers={"Range": "bytes=5-9"})
        assert (passed.status_code, passed.content) == (206, BODY[5:10])
        assert (await client.get(f"/api/v1/files/s3/{bench.bucket}/other/a.mp4")).status_code == 403
        assert "X-Amz" not in (await client.get("/api/v1/audit")).text


async def test_an_upload_goes_to_the_bucket_in_parts_and_on_after_a_reload(bench, uploads):
    body = BODY * 20
    begun = await uploads.begin("my film.mkv", len(body))
    assert begun.part_bytes == PART
    links = await uploads.links(begun.place, begun.upload_id, (1, 2))
    assert (await put(links[1], body[:PART])).status_code == 200
    with pytest.raises(VerificationFailed):
        await uploads.finish(begun.place, begun.upload_id, len(body))
    again = await uploads.get(begun.place, begun.upload_id)
    assert dict(again.parts) == {1: PART}
    assert (await put(links[2], body[PART:])).status_code == 200
    await uploads.finish(begun.place, begun.upload_id, len(body))
    key = begun.place.key.removeprefix("library/")
    assert key.startswith("uploads/")
    assert key.endswith("-my film.mkv")
    assert bench.get(key) == body
    with pytest.raises(SourceMissing):
        await uploads.get(begun.place, begun.upload_id)


async def test_an_upload_to_the_bucket_has_its_bounds_and_is_removed_when_nobody_goes_on(bench, uploads):
    with pytest.raises(InvalidJob):
        await uploads.begin("large.mkv", 1 << 31)
    begun = await uploads.begin("a.mkv", 10)
    with pytest.raises(SourceMissing):
        await uploads.links(bench.place("elsewhere.mkv"), begun.upload_id, (1,))
    await uploads.cancel(begun.place, begun.upload_id)
    await uploads.cancel(begun.place, begun.upload_id)
    await uploads.begin("b.mkv", 10)
    assert await uploads.sweep(3600) == 0
    assert await uploads.sweep(-10) == 1
    assert bench.names() == set()


async def test_only_the_form_that_uploads_to_the_bucket_may_reach_it(bench, uploads, tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        assert bench.server.endpoint not in (await client.get("/new")).headers["content-security-policy"]
        here.services.uploads, here.services.multipart = None, uploads
        policy = (await client.get("/new")).headers["content-security-policy"]
        assert f"connect-src 'self' {bench.server.endpoint}".rstrip("/") in policy
        assert bench.server.endpoint not in (await client.get("/")).headers["content-security-policy"]
