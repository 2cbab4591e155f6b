"""What only buckets can do to us: busy servers, cut connections, wrong credentials, half-made objects."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.support.http_proxy import proxied
from tests.support.storages import PART_BYTES, Confirmations, Maker, S3Bench, external, publish, s3_running
from worker.adapters.storage.s3 import S3Storage
from worker.adapters.storage.s3.client import make_client
from worker.adapters.storage.s3.roots import is_left_over
from worker.core.errors import LeaseLost, Misconfigured, RefusedPath, StorageUnavailable, VerificationFailed

FEW = 3


@pytest.fixture(scope="module")
def s3_server(tmp_path_factory):
    with s3_running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="module")
def faults(s3_server):
    with proxied(s3_server.endpoint) as one:
        yield one


@pytest.fixture
def bench(s3_server) -> S3Bench:
    return S3Bench(s3_server)


@pytest.fixture
def flaky(bench, faults) -> S3Storage:
    faults.plan("", "", 0)
    return bench.through(faults.endpoint, attempts=FEW)


@pytest.fixture
def make(tmp_path) -> Maker:
    return Maker(tmp_path / "scratch")


async def test_objects_carry_type_cache_rule_and_hash(bench, make):
    artifacts = [
        make(bench.place("f/e1/init.mp4"), b"i", role="init", immutable=True),
        make(bench.place("f/e1/1.m4s"), b"s", role="segment", immutable=True),
        make(bench.place("f/v.m3u8"), b"v", role="playlist"),
        make(bench.place("f/master.m3u8"), b"m", role="manifest"),
        make(bench.place("f/film.mkv"), b"f" * (PART_BYTES + 1)),
        make(bench.place("f/long.mp4"), b"f" * (4 * PART_BYTES + 1)),
    ]
    await publish(bench.storage, artifacts)
    heads = [bench.client.head_object(Bucket=bench.bucket, Key=external(a.uri).key) for a in artifacts]
    forever, briefly, soon = "public, max-age=31536000, immutable", "public, max-age=2", "public, max-age=60"
    assert [(head["ContentType"], head["CacheControl"]) for head in heads] == [
        ("video/mp4", forever),
        ("video/iso.segment", forever),
        ("application/vnd.apple.mpegurl", briefly),
        ("application/vnd.apple.mpegurl", briefly),
        ("video/matroska", soon),
        ("video/mp4", soon),
    ]
    assert [head["Metadata"]["sha256"] for head in heads] == [a.sha256 for a in artifacts]


@pytest.mark.parametrize("kind", ["500", "503", "refuse", "lost"])
@pytest.mark.parametrize("size", [1000, 2 * PART_BYTES + 7])
async def test_an_upload_goes_on_when_the_server_fails_for_a_moment(bench, flaky, faults, make, kind, size):
    content = os.urandom(size)
    faults.plan(kind, "PUT", FEW - 1)
    await publish(flaky, [make(bench.place("movie.mkv"), content), make(bench.place("e1/a.m4s"), b"a", immutable=True)])
    assert faults.count == 0
    assert bench.get("movie.mkv") == content
    assert bench.names() == {"movie.mkv", "e1/a.m4s"}


@pytest.mark.parametrize("kind", ["500", "503", "refuse"])
async def test_a_server_that_stays_sick_is_reported_and_leaves_nothing_visible(bench, flaky, faults, make, kind):
    artifacts = [make(bench.place("movie.mkv"), b"m" * (2 * PART_BYTES)), make(bench.place("v.m3u8"), b"v")]
    faults.plan(kind, "PUT", 1000)
    with pytest.raises(StorageUnavailable, match=r"s3://"):
        await publish(flaky, artifacts)
    faults.plan("", "", 0)
    await flaky.discard(artifacts)
    assert bench.names() == set()
    assert "Uploads" not in bench.client.list_multipart_uploads(Bucket=bench.bucket)
    await publish(flaky, artifacts)
    assert bench.names() == {"movie.mkv", "v.m3u8"}


async def test_after_a_failed_upload_only_what_is_missing_is_sent(bench, flaky, faults, make):
    artifacts = [make(bench.place(f"e1/{n:02}.m4s"), bytes([n]) * 500, immutable=True) for n in range(12)]
    faults.plan("500", "PUT", FEW, "/07.m4s")
    with pytest.raises(StorageUnavailable, match="07"):
        await flaky.stage(artifacts)
    done = bench.names()
    assert "e1/07.m4s" not in done
    faults.plan("", "", 0)
    await flaky.stage(artifacts)
    assert faults.seen["PUT"] == 12 - len(done)
    assert len(bench.names()) == 12


@pytest.mark.parametrize("kind", ["500", "503", "refuse", "cut"])
async def test_a_download_goes_on_when_the_server_fails_for_a_moment(bench, flaky, faults, kind, tmp_path):
    content = os.urandom(3 * PART_BYTES)
    bench.put("in.mkv", content)
    faults.plan(kind, "GET", FEW - 1)
    assert (await flaky.fetch(bench.place("in.mkv"), tmp_path / "in.mkv")).read_bytes() == content
    assert faults.count == 0
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


async def test_a_download_that_is_always_cut_is_reported_and_leaves_no_file(bench, flaky, faults, tmp_path):
    bench.put("in.mkv", os.urandom(PART_BYTES))
    faults.plan("cut", "GET", 1000)
    with pytest.raises(StorageUnavailable, match=r"in\.mkv"):
        await flaky.fetch(bench.place("in.mkv"), tmp_path / "in.mkv")
    assert list(tmp_path.iterdir()) == []


async def spans_of(storage, bench, folder, spans, content) -> bytes:
    path = folder / "sparse"
    path.write_bytes(bytes(len(content)))
    version = (await storage.stat(bench.place("in.mkv"))).version
    await storage.fetch_spans(bench.place("in.mkv"), version, spans, path)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["500", "refuse", "cut"])
async def test_spans_of_an_object_are_fetched_into_their_places(bench, flaky, faults, kind, tmp_path):
    content = os.urandom(50_000)
    bench.put("in.mkv", content)
    faults.plan(kind, "GET", FEW - 1)
    made = await spans_of(flaky, bench, tmp_path, [(0, 10), (20_000, 50_000)], content)
    assert made == content[:10] + bytes(19_990) + content[20_000:]
    assert faults.count == 0


@pytest.mark.parametrize(("kind", "text"), [("plain", "another range"), ("cut", "broke off"), ("412", "changed")])
async def test_a_span_that_never_comes_as_asked_is_an_error(bench, flaky, faults, kind, text, tmp_path):
    content = os.urandom(1000)
    bench.put("in.mkv", content)
    faults.plan(kind, "GET", 1000)
    with pytest.raises(StorageUnavailable, match=text):
        await spans_of(flaky, bench, tmp_path, [(300, 301)], content)
    assert (tmp_path / "sparse").read_bytes() == bytes(1000)


async def test_spans_of_another_version_are_not_mixed(bench, tmp_path):
    bench.put("in.mkv", b"1" * 1000)
    version = (await bench.storage.stat(bench.place("in.mkv"))).version
    bench.put("in.mkv", b"2" * 1000)
    (tmp_path / "sparse").write_bytes(bytes(1000))
    with pytest.raises(StorageUnavailable, match="changed while it was read"):
        await bench.storage.fetch_spans(bench.place("in.mkv"), version, [(0, 10)], tmp_path / "sparse")
    assert (tmp_path / "sparse").read_bytes() == bytes(1000)
    with pytest.raises(RefusedPath):
        await bench.storage.fetch_spans(bench.outside(), version, [(0, 10)], tmp_path / "sparse")


async def test_a_sick_server_is_no_missing_source(bench, flaky, faults):
    faults.plan("503", "HEAD", 1000)
    with pytest.raises(StorageUnavailable):
        await flaky.stat(bench.place("in.mkv"))


async def test_a_swap_that_fails_keeps_the_old_manifest(bench, flaky, faults, make):
    bench.put("master.m3u8", b"old")
    artifacts = [make(bench.place("master.m3u8"), b"new", role="manifest")]
    await flaky.stage(artifacts)
    faults.plan("503", "PUT", 1000)
    with pytest.raises(StorageUnavailable):
        await flaky.reveal(artifacts, Confirmations(bench))
    assert bench.get("master.m3u8") == b"old"


async def test_a_server_that_is_away_is_reported_in_one_line(bench, make):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        storage = bench.through(f"http://127.0.0.1:{taken.getsockname()[1]}", attempts=1)
        artifacts = [make(bench.place("e1/a.m4s"), b"a", immutable=True)]
        for call in (storage.check(), storage.stat(bench.place("a.mkv")), storage.stage(artifacts)):
            with pytest.raises(StorageUnavailable, match="does not answer"):
                await call


async def test_a_silent_server_does_not_hold_us_for_ever(bench):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        storage = bench.through(f"http://127.0.0.1:{silent.getsockname()[1]}", attempts=1, read_seconds=0.3)
        with pytest.raises(StorageUnavailable):
            await storage.stat(bench.place("a"))


async def test_wrong_credentials_are_for_a_person_and_never_repeated_in_the_message(bench, s3_server):
    root = external(f"s3://{bench.bucket}/")
    for client in (
        s3_server.client(secret="not-the-secret-of-this-server"),
        make_client(
            endpoint=s3_server.endpoint, access_key="AKIANOBODY", secret_key="planted-secret", region="us-east-1"
        ),
    ):
        storage = S3Storage((root,), destination=root, connect=lambda client=client, **_: client)
        with pytest.raises(Misconfigured, match="refuses our credentials") as at_start:
            await storage.check()
        with pytest.raises(StorageUnavailable) as later:
            await storage.stat(bench.place("a.mkv"))
        for text in (str(at_start.value), str(later.value)):
            assert "\n" not in text
            assert not any(word in text for word in ("planted", "not-the-secret", "AKIANOBODY", s3_server.access_key))


async def test_no_credentials_at_all_are_for_a_person(bench, s3_server, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint)
    with pytest.raises(Misconfigured, match="no S3 credentials"):
        await S3Storage((external(f"s3://{bench.bucket}/"),)).check()


async def test_the_sdks_own_environment_is_enough(bench, s3_server, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint)
    await S3Storage((external(f"s3://{bench.bucket}/"),)).check()


async def test_a_missing_bucket_is_reported_with_its_name(s3_server, make):
    root = external("s3://no-such-bucket-here/")
    storage = S3Storage((root,), destination=root, connect=s3_server.client)
    with pytest.raises(Misconfigured, match="no-such-bucket-here does not exist: run `python -m infra provision`"):
        await storage.check()
    with pytest.raises(StorageUnavailable, match="no such bucket"):
        await publish(storage, [make(external("s3://no-such-bucket-here/a.m3u8"), b"a")])


def test_an_endpoint_that_is_no_url_is_for_a_person():
    with pytest.raises(Misconfigured, match="cannot be set up"):
        make_client(endpoint="127.0.0.1:8333")


async def test_a_worker_without_buckets_makes_no_client():
    def connect() -> None:
        raise AssertionError("nobody asked for a bucket")

    storage = S3Storage((), connect=connect)
    await storage.check()
    with pytest.raises(RefusedPath, match="WORKER_ROOTS"):
        storage.admit(external("s3://media/a.mkv"), writing=False)


@pytest.mark.parametrize(
    ("name", "hours", "left"),
    [("a/.leveret-x", 25, True), ("a/.leveret-x", 23, False), ("a/movie.mkv", 99, False), (".leveret", 99, False)],
)
def test_only_hidden_objects_older_than_a_day_are_left_over(name, hours, left):
    now = datetime.now(UTC)
    place = external(f"s3://media/{name}")
    assert is_left_over(place, now - timedelta(hours=hours), format_datetime(now, usegmt=True)) is left
    assert not is_left_over(place, now - timedelta(hours=hours), None)


def test_the_record_shows_the_public_url_else_the_uri():
    root = external("s3://media/")
    place = external("s3://media/lib/ü 1.m3u8")
    assert S3Storage((root,)).url(place) == "s3://media/lib/ü 1.m3u8"
    assert S3Storage((root,), public_url="https://cdn/x/").url(place) == "https://cdn/x/lib/%C3%BC%201.m3u8"


class Lease:
    """Ours for `times` confirmations; then a successor works, and puts its own object at the fixed key."""

    def __init__(self, bench: S3Bench, times: int) -> None:
        self.bench, self.times, self.asked = bench, times, 0

    async def __call__(self) -> None:
        self.asked += 1
        if self.asked > self.times:
            self.bench.put("movie.mkv", b"the successor's")
            raise LeaseLost("another worker has the job")


@pytest.mark.parametrize("size", [1000, 2 * PART_BYTES, 4 * PART_BYTES + 7])
@pytest.mark.parametrize("kind", ["500", "refuse", "slow"])
async def test_a_lease_that_is_lost_while_a_swap_fails_lets_nothing_of_ours_come_later(bench, faults, make, size, kind):
    storage = bench.through(faults.endpoint, attempts=FEW, read_seconds=0.5 if kind == "slow" else 20.0)
    artifacts = [make(bench.place("movie.mkv"), os.urandom(size))]
    faults.plan("", "", 0)
    # Not by `storage`: a busy machine may take half a second for a part.
    await bench.storage.stage(artifacts)
    faults.plan(kind, "POST" if size > 4 * PART_BYTES else "PUT", 1, "uploadId" if size > 4 * PART_BYTES else "movie")
    lease = Lease(bench, 1)
    with pytest.raises(LeaseLost):
        await storage.reveal(artifacts, lease)
    assert (faults.count, lease.asked) == (0, 2)
    assert bench.get("movie.mkv") == b"the successor's"
    assert "Uploads" not in bench.client.list_multipart_uploads(Bucket=bench.bucket)


async def test_a_multipart_swap_whose_answer_is_lost_is_known_to_be_done(bench, flaky, faults, make):
    content = os.urandom(4 * PART_BYTES + 7)
    artifacts = [make(bench.place("movie.mkv"), content)]
    await flaky.stage(artifacts)
    faults.plan("lost", "POST", 1, "uploadId")
    await flaky.reveal(artifacts, lease := Lease(bench, 9))
    assert (faults.count, lease.asked) == (0, 2)
    assert bench.get("movie.mkv") == content


async def test_a_file_that_is_gone_before_its_object_is_shown_is_reported(bench, make):
    artifact = make(bench.place("movie.mkv"), b"film")
    await bench.storage.stage([artifact])
    artifact.path.unlink()
    with pytest.raises(VerificationFailed, match="gone from scratch"):
        await bench.storage.reveal([artifact], Confirmations(bench))
    assert bench.names() == set()
