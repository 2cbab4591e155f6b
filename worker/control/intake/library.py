"""Sources as they lie in storage: which there are, what each of them is, and whether it is known already."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.core.errors import RefusedPath, StorageUnavailable, VerificationFailed
from worker.core.identity import Fingerprint, SourceRecord, sample_ranges
from worker.core.location import External, parse_location
from worker.media.loudness import loudness_command, parse_loudness
from worker.media.probe import media_info, probe_command
from worker.media.verify import check_decoded, decode_command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from worker.core.media_info import MediaInfo
    from worker.core.ports import Runner
    from worker.core.ports.files import FileReader, Found, OpenFile

PROBE_SECONDS: Final = 60.0
STALL_SECONDS: Final = 120.0
EDGE_BYTES: Final = 16 << 20
"""The bytes of a remote file's head and tail that a probe sees: the index of a container is in one of them."""


@dataclass(frozen=True, slots=True)
class Library:
    """The files that this host can look at, and the programs that say what they are.

    `readers` are by scheme; `path_map` translates a publisher's mount points; `tool` returns the path of a program;
    `scratch` is where pieces of remote files lie while they are probed.
    """

    readers: Mapping[str, FileReader]
    path_map: Mapping[str, str]
    runner: Runner
    tool: Callable[[str], str]
    scratch: Path

    def place(self, uri: str) -> External:
        """Return the place that a URI names; RefusedPath when this host has no such files."""
        place = parse_location(uri, self.path_map)
        if not isinstance(place, External):
            raise RefusedPath(f"{uri[:200]!r} is no source: write nas://…, s3://… or an absolute path")
        self.reader(place)
        return place

    def reader(self, place: External) -> FileReader:
        """Return who reads the files of a place."""
        found = self.readers.get(place.scheme)
        if found is None:
            raise RefusedPath(f"{place}: {place.scheme}:// cannot be looked at from here")
        return found

    def walk(self, folder: External) -> AsyncIterator[tuple[Found, ...]]:
        """Yield the files below a folder in batches; what goes away meanwhile is an error."""
        return self.reader(folder).walk(folder)

    async def look(self, place: External) -> SourceRecord:
        """Return what a file is without reading it."""
        async with self._open(place) as file:
            return SourceRecord(uri=str(place), bytes=file.size, modified=file.modified, version=file.etag)

    async def fingerprint(self, place: External, *, version: str) -> str:
        """Return what a file is by its content; StorageUnavailable when it is not `version` any more."""
        async with self._open(place) as file:
            found = Fingerprint(file.size)
            for start, length in sample_ranges(file.size):
                async for piece in file.read(start, length):
                    found.update(piece)
            if file.etag != version:
                raise StorageUnavailable(f"{place} changed while it was looked at")
            return found.text()

    async def probe(self, place: External) -> MediaInfo:
        """Return what a media file is; BadInput when it is none."""
        async with self.near(place) as path:
            (answer,) = await self.runner.run(probe_command(self.tool("ffprobe"), path), timeout=PROBE_SECONDS)
        return media_info(answer, str(place))

    async def loudness(self, place: External) -> float | None:
        """Return the integrated loudness of a file's first sound in LUFS; None where it has none, or is silent."""
        async with self.near(place, whole=True) as path:
            (exit_,) = await self.runner.run(loudness_command(self.tool("ffmpeg"), path), stall=STALL_SECONDS)
        found = parse_loudness(exit_.tail) if exit_.ok else None
        return None if found is None or found.is_silent else found.integrated

    async def health(self, place: External) -> str:
        """Return what is wrong with a file that is decoded to its end; nothing for one that is whole."""
        async with self.near(place, whole=True) as path:
            (exit_,) = await self.runner.run(decode_command(self.tool("ffmpeg"), path), stall=STALL_SECONDS)
        try:
            check_decoded(exit_, str(place))
        except VerificationFailed as error:
            return str(error)
        return ""

    @asynccontextmanager
    async def near(self, place: External, *, whole: bool = False) -> AsyncIterator[Path]:
        """Yield a local path of a file: its own, or a copy's that has its head and its tail, or all with `whole`."""
        own = await self.reader(place).local(place)
        if own is not None:
            yield own
            return
        folder = await asyncio.to_thread(self._folder)
        try:
            async with self._open(place) as file:
                yield await _copy(file, folder / "source", whole=whole)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _folder(self) -> Path:
        self.scratch.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="look-", dir=self.scratch))

    @asynccontextmanager
    async def _open(self, place: External) -> AsyncIterator[OpenFile]:
        file = await self.reader(place).open(place)
        try:
            yield file
        finally:
            await file.close()


async def _copy(file: OpenFile, path: Path, *, whole: bool) -> Path:
    """Return a file with the bytes of another one, in between a hole: offsets stay what they are."""
    with path.open("wb") as copy:
        copy.truncate(file.size)
        ranges: tuple[tuple[int, int], ...] = ((0, file.size),)
        if not whole and file.size > 2 * EDGE_BYTES:
            ranges = ((0, EDGE_BYTES), (file.size - EDGE_BYTES, EDGE_BYTES))
        for start, length in ranges:
            copy.seek(start)
            async for piece in file.read(start, length):
                await asyncio.to_thread(copy.write, piece)
    return path
