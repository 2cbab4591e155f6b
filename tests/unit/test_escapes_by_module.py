"""All ways out of a job are refused before any tool starts: `tests/support/escapes.py` has them by place.

Which texts name a place at all is in `test_location_escapes.py`; links that are raced in and redirects, which need a
file system and a server, are in `tests/contract/test_storage_nas.py` and `test_storage_web.py`.
"""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.escapes import HOLE, PLACES, TABLE
from worker.adapters.git import GitRepositories
from worker.adapters.storage.nas import NasStorage
from worker.adapters.storage.s3 import S3Storage
from worker.adapters.storage.web import WebSource
from worker.adapters.storage.web.posting import post_json
from worker.app.components import registry
from worker.core.command import Exit
from worker.core.errors import InvalidJob, Problem
from worker.core.location import External
from worker.core.message.dialects import decode
from worker.engine.attempt.plan import Resolver
from worker.engine.attempt.workspace import Workspace
from worker.engine.storages import Storages

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.core.command import Pipeline

NAMES = {
    "metadata.google.internal": ["169.254.169.254"],
    "instance-data.ec2.internal": ["fd00:ec2::254"],
    "inside.example.org": ["10.0.0.8"],
    "both.example.org": ["93.184.216.34", "127.0.0.1"],
    "localhost": ["127.0.0.1"],
    "2130706433": ["127.0.0.1"],
}
ENCODERS = "Encoders:\n V....D libx264              libx264 H.264 (codec h264)\n"
OPTIONS = """Encoder libx264 [libx264 H.264]:
libx264 AVOptions:
  -preset            <string>     E..V....... Set the encoding preset
  -x264-params       <dictionary> E..V....... Override the x264 configuration

"""


class Answers:
    """What tasks may look up, from texts: asking for a program that would run is a fault."""

    async def option_set(self, module: str, name: str) -> Mapping[str, Any]:
        raise InvalidJob([Problem("", f"{module} has no {name!r}")])

    def tool(self, name: str) -> str:
        return f"/usr/bin/{name}"

    def encoder(self, name: str, *, hw_fallback: bool = False) -> str:
        del hw_fallback
        return name

    def encoders(self, name: str, *, hw_fallback: bool = False) -> tuple[str, ...]:
        return (self.encoder(name, hw_fallback=hw_fallback),)

    async def run(self, pipeline: Pipeline, *_: object, **__: object) -> tuple[Exit, ...]:
        (command,) = pipeline.stages
        texts = {"-encoders": ENCODERS, "-h": OPTIONS}
        assert command.argv[:2] == ("/usr/bin/ffmpeg", "-hide_banner"), f"{command.argv} would run"
        return (Exit(command, 0, None, 0.0, "", texts[command.argv[2]]),)


def filled(value: Any, hostile: Any) -> Any:
    match value:
        case str() if value == HOLE:
            return hostile
        case dict():
            return {key: filled(item, hostile) for key, item in value.items()}
        case list():
            return [filled(item, hostile) for item in value]
        case _:
            return value


async def judge(place: str, hostile: Any, nas: Path) -> None:
    """Bring a job with one hostile value as far as it comes: decode, resolve, and what it names outside of files."""
    module, data = PLACES[place]
    message: dict[str, Any] = {"tasks": [{"module": filled(module, hostile), "data": filled(data, hostile)}]}
    if place == "callback":
        message["callback_url"] = hostile
    job = decode(json.dumps(message).encode(), "escape")
    storages = Storages.of((NasStorage(nas, (nas,)), S3Storage((External("s3", "media", "/lib/"),)), WebSource()))
    destination = External("nas", "", "/out/escape/")

    async def nothing() -> frozenset[str]:
        return frozenset()

    await Resolver(registry(), storages, Answers()).resolve(job, destination, nothing)
    if place == "mkvmerge attachment folder":
        await Workspace(nas / "job.1", destination, storages).listing(hostile)
    if job.callback_url:
        await post_json(job.callback_url, "{}", allow_private=False)
    if module == "gource":
        data = job.tasks[0].data
        for one in data.get("repositories", [data]):
            await GitRepositories(Answers()).clone(one["repo_url"], nas / "clone")


@pytest.fixture
def nas(tmp_path, monkeypatch):
    """A NAS with the files that the rows' harmless parts name, and a resolver that knows names of the inside."""
    for name in ("a.mkv", "a.png", "f"):
        (tmp_path / name).write_bytes(b"x")

    def resolve(host: str, port: object, *_: object, **__: object) -> list[Any]:
        kinds = {True: socket.AF_INET6, False: socket.AF_INET}
        found = [host] if re.fullmatch(r"[0-9a-f.:]*[.:][0-9a-f.:]*", host) else NAMES[host]
        return [(kinds[":" in one], socket.SOCK_STREAM, 6, "", (one, port or 0)) for one in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return tmp_path


def test_the_table_is_long_says_nothing_twice_and_leaves_no_place_out():
    rows = [(place, repr(hostile)) for place, hostile, _ in TABLE]
    assert len(rows) == len(set(rows)) >= 100
    assert {place for place, _, _ in TABLE} == PLACES.keys()
    assert {module for module, _ in PLACES.values()} == {HOLE, *registry().tasks}


@pytest.mark.parametrize(
    ("place", "hostile", "kind"), TABLE, ids=[f"{place} {ascii(hostile)[:50]}" for place, hostile, _ in TABLE]
)
async def test_an_escape_is_refused_by_its_class_and_its_secret_is_not_shown(nas, place, hostile, kind):
    with pytest.raises(kind) as caught:
        await judge(place, hostile, nas)
    assert "planted" not in str(caught.value)
    assert sorted(path.name for path in nas.iterdir()) == ["a.mkv", "a.png", "f"]


@pytest.mark.parametrize(
    ("place", "harmless"),
    [
        ("ffmpeg option", {"codec": "libx264", "preset": "fast"}),
        ("ffmpeg filter", "scale=-2:90"),
        ("mkvmerge option", {"title": "a"}),
        ("handbrake video option", {"encoder": "x264"}),
        ("cleanup copy to", "nas://b.mkv"),
        ("thumbnail time", 1),
        ("waveform look", "bars"),
        ("hls playlist", "main.m3u8"),
    ],
)
async def test_the_same_places_take_what_is_harmless(nas, place, harmless):
    await judge(place, harmless, nas)
