"""Watched folders in a bucket, on a real S3 server."""

from __future__ import annotations

import secrets
from collections import Counter

import pytest

from tests.support.folders import inbox, look
from tests.support.storages import s3_running
from worker.control.intake.batches import expand, submit_all
from worker.control.intake.templates import Made, Skipped
from worker.core.errors import RefusedPath


@pytest.fixture(scope="module")
def s3_server(tmp_path_factory):
    with s3_running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """Return the name of an empty bucket that this process reaches as its own."""
    name = f"watched-{secrets.token_hex(6)}"
    s3_server.client().create_bucket(Bucket=name)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return name


async def test_a_pattern_in_a_bucket_makes_one_job_of_each_object_that_it_means_and_none_twice(
    tmp_path, s3_server, bucket
):
    async with inbox(tmp_path, roots=(f"s3://{bucket}/library",)) as here:
        for name in ("a.mkv", "s01/b.mkv", "s01/notes.txt", "copy/of-a.mkv"):
            content = b"a film" if name in {"a.mkv", "copy/of-a.mkv"} else name.encode()
            s3_server.client().put_object(Bucket=bucket, Key=f"library/in/{name}", Body=content)
        for expected in ({Made: 2, Skipped: 1}, {Skipped: 3}):
            named = await expand(here.control, [f"s3://{bucket}/library/in/**/*.mkv"])
            found = [one async for one in submit_all(here.control, "look", named, {})]
            assert Counter(map(type, found)) == expected, found
        assert len(here.titles) == 2
        outside = await expand(here.control, [f"s3://{bucket}/elsewhere/*.mkv"])
        with pytest.raises(RefusedPath, match="elsewhere/ is not inside"):
            _ = [one async for one in submit_all(here.control, "look", outside, {})]


async def test_a_bucket_is_watched_as_a_folder_is(tmp_path, s3_server, bucket):
    client = s3_server.client()

    def keys():
        return sorted(item["Key"] for item in client.list_objects_v2(Bucket=bucket).get("Contents", ()))

    async with inbox(tmp_path, roots=(f"s3://{bucket}/library",)) as here:
        place = f"s3://{bucket}/library/inbox/"
        await here.put(place=place, afterwards="move", move_to=f"s3://{bucket}/library/done/")
        for name, content in (("a.mkv", b"a film"), ("sub/b.mkv", b"another"), ("a.en.srt", b"1"), ("c.txt", b"x")):
            client.put_object(Bucket=bucket, Key=f"library/inbox/{name}", Body=content)
        await here.taken()
        assert here.titles == ["a.mkv", "b.mkv"]
        # Renamed (copied and deleted) it is the film that it was; other bytes under its name are another film.
        source = {"Bucket": bucket, "Key": "library/inbox/sub/b.mkv"}
        client.copy_object(Bucket=bucket, Key="library/inbox/renamed.mkv", CopySource=source)
        client.put_object(Bucket=bucket, Key="library/inbox/sub/b.mkv", Body=b"a third film")
        await here.taken()
        assert here.titles == ["a.mkv", "b.mkv", "b.mkv"]
        assert (await here.states())["renamed.mkv"] == "skipped"
        (film,) = [one for one in await here.repository.folder_files("inbox", "submitted", 10) if one.path == "a.mkv"]
        await here.complete(film.job_id)
        await look(here.server())
        assert [key for key in keys() if "/done/" in key] == ["library/done/a.en.srt", "library/done/a.mkv"]
        assert "library/inbox/a.mkv" not in keys()
