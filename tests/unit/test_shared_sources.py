"""Sources that a host fetches once: whoever wants one at the same time waits, and a removed copy harms no reader."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from worker.core.errors import DiskFull, StorageUnavailable
from worker.engine.attempt.excerpts import Excerpts
from worker.engine.attempt.locks import held
from worker.engine.attempt.sources import FOLDER, SharedSources

if TYPE_CHECKING:
    from pathlib import Path


class Remote:
    """Counts how often it is fetched."""

    def __init__(self, *failures: Exception) -> None:
        self.fetches = 0
        self._failures = list(failures)

    def into(self, path: Path):
        async def fetch() -> Path:
            self.fetches += 1
            await asyncio.sleep(0)
            if self._failures:
                raise self._failures.pop()
            _write(path)
            return path

        return fetch


def _write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"film")


async def test_attempts_that_need_one_source_at_the_same_time_fetch_it_once(tmp_path: Path) -> None:
    remote, sources = Remote(), [SharedSources(tmp_path) for _ in range(4)]
    paths = [tmp_path / f"job.{number}" / "film" for number in range(4)]
    found = await asyncio.gather(
        *(one.fetched("s3://a/film", "7-x", path, remote.into(path)) for one, path in zip(sources, paths, strict=True))
    )
    assert found == paths
    assert remote.fetches == 1
    assert [path.read_bytes() for path in paths] == [b"film"] * 4


async def test_another_version_is_another_copy(tmp_path: Path) -> None:
    remote, sources = Remote(), SharedSources(tmp_path)
    for version in ("7-x", "7-y", "7-x"):
        path = tmp_path / f"job.{remote.fetches}.{version}"
        await sources.fetched("s3://a/film", version, path, remote.into(path))
    assert remote.fetches == 2
    assert await sources.linked("s3://a/film", "8-z", tmp_path / "none") is None


async def test_a_fetch_that_fails_leaves_the_source_to_the_next(tmp_path: Path) -> None:
    remote, sources = Remote(StorageUnavailable("away")), SharedSources(tmp_path)
    path = tmp_path / "job.1" / "film"
    with pytest.raises(StorageUnavailable):
        await sources.fetched("s3://a/film", "7-x", path, remote.into(path))
    assert await sources.fetched("s3://a/film", "7-x", path, remote.into(path)) == path


async def test_a_source_that_the_plan_fetched_stays_for_the_parts_until_it_is_unused(tmp_path: Path) -> None:
    remote, sources = Remote(), SharedSources(tmp_path)
    assert not sources.has_any()
    planned, part = tmp_path / "plan.1" / "film", tmp_path / "part.1" / "film"
    await sources.keep("s3://a/film", "7-x", await remote.into(planned)())
    assert sources.has_any()
    assert await sources.linked("s3://a/film", "7-x", part) == part
    assert sources.sweep() == 0, "it was used just now"
    (copy,) = (path for path in (tmp_path / FOLDER).iterdir() if not path.suffix)
    os.utime(copy, (0, 0))
    assert sources.sweep() == 1
    assert part.read_bytes() == b"film", "an attempt keeps what it reads"
    assert not sources.has_any()
    assert sources.sweep() == 0


async def test_all_copies_go_where_room_is_needed(tmp_path: Path) -> None:
    remote, sources = Remote(), SharedSources(tmp_path)
    for name in "ab":
        path = tmp_path / name
        await sources.fetched(f"s3://a/{name}", "7-x", path, remote.into(path))
    assert sources.sweep(0.0) == 2


SIZE = 1000


class Ranged:
    """Counts the bytes that are asked for, and writes ones."""

    def __init__(self, *failures: Exception) -> None:
        self.asked: list[list[tuple[int, int]]] = []
        self._failures = list(failures)

    async def __call__(self, path: Path, spans) -> None:
        self.asked.append(list(spans))
        with path.open("r+b") as file:
            for first, last in spans:
                file.seek(first)
                file.write(b"1" * (last - first))
                if self._failures:
                    file.flush()
                    raise self._failures.pop()


async def _excerpt(folder: Path, name: str, spans, remote: Ranged) -> int | None:
    excerpts = Excerpts(SharedSources(folder))
    return await excerpts.fetched("s3://a/film", "1000-x", SIZE, spans, folder / name / "film", remote)


async def test_a_host_fetches_no_byte_of_an_excerpt_twice(tmp_path: Path) -> None:
    remote = Ranged()
    assert await _excerpt(tmp_path, "part.1", [(0, 100), (500, 600)], remote) == 200
    assert await _excerpt(tmp_path, "part.2", [(0, 100), (550, 700)], remote) == 100
    assert await _excerpt(tmp_path, "part.3", [(510, 690)], remote) == 0
    assert remote.asked == [[(0, 100), (500, 600)], [(600, 700)]]
    content = (tmp_path / "part.1" / "film").read_bytes()
    assert content == b"1" * 100 + bytes(400) + b"1" * 200 + bytes(300)


@pytest.mark.parametrize("error", [StorageUnavailable("away"), DiskFull("full")])
async def test_an_excerpt_that_breaks_off_or_whose_notes_are_lost_is_fetched_again(
    tmp_path: Path, error: Exception
) -> None:
    remote = Ranged(error)
    with pytest.raises(type(error)):
        await _excerpt(tmp_path, "part.1", [(0, 100)], remote)
    assert await _excerpt(tmp_path, "part.1", [(0, 100)], remote) == 100
    (notes,) = (tmp_path / FOLDER).glob("*.json")
    notes.write_text("[[0, ")
    assert await _excerpt(tmp_path, "part.2", [(0, 100)], remote) == 100
    assert SharedSources(tmp_path).sweep(0.0) == 1
    assert not SharedSources(tmp_path).has_any()
    assert await _excerpt(tmp_path, "part.3", [(0, 100)], remote) == 100


async def test_a_fetch_that_is_stopped_with_its_lease_leaves_the_excerpt_to_the_next(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def hang(path: Path, spans) -> None:
        del path, spans
        begun.set()
        await asyncio.Event().wait()

    excerpts = Excerpts(SharedSources(tmp_path))
    stuck = asyncio.ensure_future(excerpts.fetched("s3://a/film", "1000-x", SIZE, [(0, 9)], tmp_path / "a", hang))
    await begun.wait()
    stuck.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stuck
    assert await _excerpt(tmp_path, "part.1", [(0, 100)], Ranged()) == 100


async def test_a_whole_copy_that_is_here_or_on_its_way_is_better_than_an_excerpt(tmp_path: Path) -> None:
    remote, whole, sources = Ranged(), Remote(), SharedSources(tmp_path)
    path = sources.path("s3://a/film", "1000-x")
    async with held(path):
        assert await _excerpt(tmp_path, "part.1", [(0, 100)], remote) is None
    assert await _excerpt(tmp_path, "part.2", [(0, 100)], remote) == 100
    await sources.keep("s3://a/film", "1000-x", await whole.into(tmp_path / "plan.1" / "film")())
    assert await _excerpt(tmp_path, "part.3", [(0, 100)], remote) is None
