"""One table of ways out, by the place in a job where they stand: all are refused before any tool starts.

Which texts name a place at all is in `test_location_escapes.py`; links that are raced in and redirects, which need a
file system and a server, are in `tests/contract/test_storage_nas.py` and `test_storage_web.py`.
"""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING, Any

import pytest

from worker.adapters.git import GitRepositories
from worker.adapters.storage.nas import NasStorage
from worker.adapters.storage.s3 import S3Storage
from worker.adapters.storage.web import WebSource
from worker.adapters.storage.web.posting import post_json
from worker.app.components import registry
from worker.core.command import Exit
from worker.core.errors import InvalidJob, Problem, RefusedPath
from worker.core.location import External
from worker.core.message.dialects import decode
from worker.engine.attempt.plan import Resolver
from worker.engine.attempt.workspace import Workspace
from worker.engine.storages import Storages

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.core.command import Pipeline

HOLE = "<here>"
"""Where the hostile value of a row goes."""

MERGE = {"sources": ["nas://a.mkv"], "tracks": [{"track": 0}], "output_file": "out.mkv"}
ENCODE = {"sources": ["nas://a.mkv"], "output_file": "out.mkv"}
BRAKE = {"source": "nas://a.mkv", "output_file": "out.mkv"}
DRAW = {"repo_url": "https://example.org/a.git"}


def video(options: Any) -> dict[str, Any]:
    return {**ENCODE, "output_maps": [{"specifier": "v", "options": options}]}


PLACES: dict[str, tuple[str, dict[str, Any]]] = {
    "ffmpeg source": ("ffmpeg", {**ENCODE, "sources": [HOLE]}),
    "ffmpeg output": ("ffmpeg", {**ENCODE, "output_file": HOLE}),
    "ffmpeg input option": ("ffmpeg", {**ENCODE, "input_options": HOLE}),
    "ffmpeg option": ("ffmpeg", video(HOLE)),
    "ffmpeg encoder": ("ffmpeg", video({"codec": HOLE})),
    "ffmpeg filter": ("ffmpeg", video({"codec": "libx264", "vf": HOLE})),
    "ffmpeg x264-params": ("ffmpeg", video({"codec": "libx264", "x264-params": HOLE})),
    "ffmpeg stream": ("ffmpeg", {**ENCODE, "source_maps": [{"specifier": HOLE}]}),
    "ffmpeg option set": ("ffmpeg", {**ENCODE, "output_maps": [{"specifier": "v", "option_set": HOLE}]}),
    "hls source": ("hls", {"source": HOLE}),
    "hls destination": ("hls", {"source": "nas://a.mkv", "destination": HOLE}),
    "hls playlist": ("hls", {"source": "nas://a.mkv", "master_playlist_name": HOLE}),
    "hls folder": ("hls", {"source": "nas://a.mkv", "renditions": [{"height": 180, "dest_path": HOLE}]}),
    "hls codec": ("hls", {"source": "nas://a.mkv", "renditions": [{"height": 180, "codec": HOLE}]}),
    "hls bitrate": ("hls", {"source": "nas://a.mkv", "renditions": [{"height": 180, "bitrate": HOLE}]}),
    "hls language": ("hls", {"source": "nas://a.mkv", "audio": [{"stream": 0, "language": HOLE}]}),
    "hls subtitle": ("hls", {"source": "nas://a.mkv", "subtitles": [{"source": HOLE}]}),
    "mkvmerge source": ("mkvmerge", {**MERGE, "sources": [HOLE]}),
    "mkvmerge output": ("mkvmerge", {**MERGE, "output_file": HOLE}),
    "mkvmerge chapters": ("mkvmerge", {**MERGE, "chapters": HOLE}),
    "mkvmerge attachment": ("mkvmerge", {**MERGE, "attachments": [{"filename": HOLE}]}),
    "mkvmerge attachment folder": ("mkvmerge", {**MERGE, "attachment_directories": [HOLE]}),
    "mkvmerge attachment type": ("mkvmerge", {**MERGE, "attachments": [{"filename": "nas://f", "mime_type": HOLE}]}),
    "mkvmerge option": ("mkvmerge", {**MERGE, "options": HOLE}),
    "mkvmerge source option": ("mkvmerge", {**MERGE, "sources": [{"filename": "nas://a.mkv", "options": HOLE}]}),
    "mkvmerge track option": ("mkvmerge", {**MERGE, "tracks": [{"track": 0, "options": HOLE}]}),
    "mkvextract source": ("mkvextract", {"source": HOLE, "chapters": "c.xml"}),
    "mkvextract track": ("mkvextract", {"source": "nas://a.mkv", "tracks": [{"id": 0, "filename": HOLE}]}),
    "mkvextract chapters": ("mkvextract", {"source": "nas://a.mkv", "chapters": HOLE}),
    "mkvextract attachment": ("mkvextract", {"source": "nas://a.mkv", "attachments": [{"id": 1, "filename": HOLE}]}),
    "mkvextract number": ("mkvextract", {"source": "nas://a.mkv", "tracks": [{"id": HOLE, "filename": "t"}]}),
    "handbrake source": ("handbrake", {**BRAKE, "source": HOLE}),
    "handbrake output": ("handbrake", {**BRAKE, "output_file": HOLE}),
    "handbrake video option": ("handbrake", {**BRAKE, "video_options": HOLE}),
    "handbrake subtitle option": ("handbrake", {**BRAKE, "subtitles_options": HOLE}),
    "handbrake filter": ("handbrake", {**BRAKE, "filters_options": HOLE}),
    "probe source": ("probe", {"source": HOLE}),
    "probe output": ("probe", {"source": "nas://a.mkv", "output_file": HOLE}),
    "thumbnail source": ("thumbnail", {"source": HOLE, "output_file": "a.jpg"}),
    "thumbnail output": ("thumbnail", {"source": "nas://a.mkv", "output_file": HOLE}),
    "thumbnail time": ("thumbnail", {"source": "nas://a.mkv", "output_file": "a.jpg", "time": HOLE}),
    "cleanup check": ("cleanup", {"verify_exists": [HOLE]}),
    "cleanup copy": ("cleanup", {"copy": [{"source": HOLE, "destination": "a"}]}),
    "cleanup copy to": ("cleanup", {"copy": [{"source": "nas://a.mkv", "destination": HOLE}]}),
    "cleanup move": ("cleanup", {"move": [{"source": HOLE, "destination": "a"}]}),
    "cleanup delete": ("cleanup", {"delete": [HOLE]}),
    "gource repository": ("gource", {**DRAW, "repo_url": HOLE}),
    "gource repositories": ("gource", {"repositories": [{"repo_url": HOLE}]}),
    "gource folder": ("gource", {"repositories": [{"repo_url": "https://example.org/a.git", "folder": HOLE}]}),
    "gource output": ("gource", {**DRAW, "output": "mp4", "output_file": HOLE}),
    "gource playlist": ("gource", {**DRAW, "master_playlist_name": HOLE}),
    "gource avatar": ("gource", {**DRAW, "avatars": [{"name": "a", "image": HOLE}]}),
    "gource avatar name": ("gource", {**DRAW, "avatars": [{"name": HOLE, "image": "nas://a.png"}]}),
    "gource captions": ("gource", {**DRAW, "captions": HOLE}),
    "gource logo": ("gource", {**DRAW, "logo": HOLE}),
    "gource audio": ("gource", {**DRAW, "audio": HOLE}),
    "gource stream": ("gource", {**DRAW, "output_ppm_stream": HOLE}),
    "gource resolution": ("gource", {**DRAW, "resolution": HOLE}),
    "gource colour": ("gource", {**DRAW, "background_colour": HOLE}),
    "gource hide": ("gource", {**DRAW, "hide": [HOLE]}),
    "waveform source": ("waveform", {"source": HOLE}),
    "waveform output": ("waveform", {"source": "nas://a.mkv", "output": "mp4", "output_file": HOLE}),
    "waveform colour": ("waveform", {"source": "nas://a.mkv", "colour": HOLE}),
    "waveform look": ("waveform", {"source": "nas://a.mkv", "look": HOLE}),
    "module": (HOLE, {}),
    "callback": ("probe", {"source": "nas://a.mkv"}),
}

TABLE: list[tuple[str, Any, type[Exception]]] = [
    # traversal and places that are not ours
    ("ffmpeg source", "../../etc/passwd", InvalidJob),
    ("ffmpeg source", "/etc/passwd", InvalidJob),
    ("ffmpeg output", "/etc/cron.d/job.mkv", InvalidJob),
    ("ffmpeg output", "nas://../out.mkv", InvalidJob),
    ("hls source", "nas://a/../../b.mkv", InvalidJob),
    ("hls destination", "/srv/elsewhere", InvalidJob),
    ("hls folder", "../720p", InvalidJob),
    ("hls folder", "s3://other/720p", InvalidJob),
    ("hls subtitle", "/root/.ssh/id_ed25519", InvalidJob),
    ("mkvmerge source", "/proc/self/environ", InvalidJob),
    ("mkvmerge output", "s3://media/out.mkv", InvalidJob),
    ("mkvmerge chapters", "/etc/shadow", InvalidJob),
    ("mkvmerge attachment", "file:///etc/shadow", InvalidJob),
    ("mkvmerge attachment folder", "/etc", RefusedPath),
    ("mkvmerge attachment folder", "nas://../", RefusedPath),
    ("mkvextract source", "a/../../b.mkv", InvalidJob),
    ("mkvextract track", "/etc/ld.so.preload", InvalidJob),
    ("mkvextract chapters", "../chapters.xml", InvalidJob),
    ("mkvextract attachment", "nas://.leveret-x", InvalidJob),
    ("handbrake source", "/dev/sda", InvalidJob),
    ("handbrake output", "../../out.mkv", InvalidJob),
    ("probe source", "/proc/1/root/etc/passwd", InvalidJob),
    ("probe output", "/var/www/index.json", InvalidJob),
    ("thumbnail source", "s3://media/other/a.mkv", InvalidJob),
    ("thumbnail output", "../a.jpg", InvalidJob),
    ("cleanup check", "/etc/passwd", InvalidJob),
    ("cleanup copy", "/etc/passwd", InvalidJob),
    ("cleanup copy to", "/etc/passwd", InvalidJob),
    ("cleanup move", "/etc/passwd", InvalidJob),
    ("cleanup delete", "/etc/passwd", InvalidJob),
    ("cleanup delete", "nas://folder/", InvalidJob),
    ("gource folder", "../../etc", InvalidJob),
    ("gource folder", "/etc", InvalidJob),
    ("gource output", "/tmp/a.mp4", InvalidJob),  # noqa: S108 - a place that is refused
    ("gource playlist", "../../master.m3u8", InvalidJob),
    ("gource playlist", ".hidden.m3u8", InvalidJob),
    ("hls playlist", "a/b.m3u8", InvalidJob),
    ("gource avatar", "/etc/passwd", InvalidJob),
    ("gource avatar name", "../../etc/passwd", InvalidJob),
    ("gource captions", "/etc/passwd", InvalidJob),
    ("gource logo", "../logo.png", InvalidJob),
    ("gource audio", "/dev/zero", InvalidJob),
    ("waveform source", "/dev/urandom", InvalidJob),
    ("waveform output", "../../a.mp4", InvalidJob),
    # protocols of ffmpeg and others
    ("ffmpeg source", "concat:/etc/passwd|/etc/shadow", InvalidJob),
    ("ffmpeg source", "subfile,,start,0,end,99,,:/etc/passwd", InvalidJob),
    ("ffmpeg source", "data:text/plain;base64,AAAA", InvalidJob),
    ("ffmpeg source", "file:/etc/passwd", InvalidJob),
    ("ffmpeg source", "lavfi:movie=/etc/passwd", InvalidJob),
    ("ffmpeg output", "tee:a.mkv|b.mkv", InvalidJob),
    ("ffmpeg output", "rtmp://198.51.100.7/live", InvalidJob),
    ("ffmpeg output", "list.m3u8", InvalidJob),
    ("hls source", "concat:/etc/passwd", InvalidJob),
    ("thumbnail source", "pipe:0", InvalidJob),
    ("thumbnail output", "a.mp4", InvalidJob),
    ("waveform source", "async:file:/etc/passwd", InvalidJob),
    ("mkvmerge source", "=/etc/passwd:x", InvalidJob),
    ("handbrake source", "smb://198.51.100.7/a.mkv", InvalidJob),
    ("probe source", "gopher://198.51.100.7/", InvalidJob),
    # addresses inside, by number and by name
    ("ffmpeg source", "https://169.254.169.254/latest/meta-data/", InvalidJob),
    ("hls source", "https://[fd00:ec2::254]/latest/meta-data/", InvalidJob),
    ("probe source", "https://127.0.0.1:5432/", InvalidJob),
    ("probe source", "https://[::ffff:10.0.0.1]/a", InvalidJob),
    ("probe source", "http://example.org/a.mkv", InvalidJob),
    ("probe source", "https://metadata.google.internal/computeMetadata/v1/", RefusedPath),
    ("probe source", "https://instance-data.ec2.internal/", RefusedPath),
    ("thumbnail source", "https://inside.example.org/a.mkv", RefusedPath),
    ("ffmpeg source", "https://both.example.org/a.mkv", RefusedPath),
    ("hls subtitle", "https://localhost/a.srt", RefusedPath),
    ("cleanup copy", "https://2130706433/a", RefusedPath),
    ("probe source", "https://reader:planted@example.org/a.mkv", InvalidJob),
    ("ffmpeg source", "https://planted@example.org/a.mkv", InvalidJob),
    ("ffmpeg output", "https://example.org/out.mkv", InvalidJob),
    ("cleanup delete", "https://example.org/a.mkv", InvalidJob),
    ("gource repository", "https://169.254.169.254/a.git", RefusedPath),
    ("gource repository", "https://metadata.google.internal/a.git", RefusedPath),
    ("gource repository", "https://both.example.org/a.git", RefusedPath),
    ("gource repository", "http://example.org/a.git", RefusedPath),
    ("gource repository", "ext::sh -c id", RefusedPath),
    ("gource repository", "--upload-pack=id", RefusedPath),
    ("gource repository", "file:///etc", RefusedPath),
    ("gource repository", "git@example.org:a.git", RefusedPath),
    ("gource repository", "https://bob:planted@example.org/a.git", RefusedPath),
    ("gource repository", "https://example.org/" + "a" * 3000, InvalidJob),
    ("gource repositories", "https://169.254.169.254/a.git", RefusedPath),
    ("gource repositories", "--upload-pack=id", RefusedPath),
    ("gource repositories", "https://bob:planted@example.org/a.git", RefusedPath),
    ("callback", "http://169.254.169.254/", RefusedPath),
    ("callback", "https://metadata.google.internal/", RefusedPath),
    ("callback", "https://inside.example.org/callback", RefusedPath),
    ("callback", "https://bob:planted@example.org/", RefusedPath),
    ("callback", "file:///etc/passwd", InvalidJob),
    ("callback", "https://example.org/a b", InvalidJob),
    ("callback", "https://example.org/\r\nX-Header: 1", InvalidJob),
    # NUL, control characters, lengths
    ("ffmpeg source", "a\x00.mkv", InvalidJob),
    ("hls source", "nas://a\n.mkv", InvalidJob),
    ("mkvextract track", "a\x1b]0;x\x07", InvalidJob),
    ("cleanup copy to", "n" * 256, InvalidJob),
    ("cleanup copy to", "a/" * 2500, InvalidJob),
    ("thumbnail output", "\ud800.jpg", InvalidJob),
    ("probe output", "", InvalidJob),
    # options that name files, and options that are none
    ("ffmpeg option", {"codec": "libx264", "attach": "/etc/passwd"}, InvalidJob),
    ("ffmpeg option", {"codec": "libx264", "passlogfile": "/tmp/x"}, InvalidJob),  # noqa: S108 - as above
    ("ffmpeg option", {"codec": "libx264", "stats": "/x"}, InvalidJob),
    ("ffmpeg option", {"codec": "libx264", "-y": True}, InvalidJob),
    ("ffmpeg option", {"codec": "libx264", "f": "tee"}, InvalidJob),
    ("ffmpeg option", {"codec": "libx264", "filter_script": "/etc/passwd"}, InvalidJob),
    ("ffmpeg option", {"codec": "libx264", "preset": "file:/etc/passwd"}, InvalidJob),
    ("ffmpeg input option", {"protocol_whitelist": "file,http"}, InvalidJob),
    ("ffmpeg input option", {"f": "concat"}, InvalidJob),
    ("ffmpeg input option", {"i": "/etc/passwd"}, InvalidJob),
    ("ffmpeg input option", {"stream_loop": -1}, InvalidJob),
    ("ffmpeg encoder", "libx264 -f tee", InvalidJob),
    ("ffmpeg encoder", "-y", InvalidJob),
    ("ffmpeg filter", "movie=/etc/passwd", InvalidJob),
    ("ffmpeg filter", "drawtext=textfile=/etc/passwd", InvalidJob),
    ("ffmpeg filter", "scale=/w=/etc/passwd", InvalidJob),
    ("ffmpeg filter", "null[a];movie=x[b]", InvalidJob),
    ("ffmpeg filter", "subtitles=/etc/passwd", InvalidJob),
    ("ffmpeg filter", "sendcmd=f=/etc/passwd", InvalidJob),
    ("ffmpeg x264-params", {"stats": "/x"}, InvalidJob),
    ("ffmpeg x264-params", "bframes=3:qpfile=x", InvalidJob),
    ("ffmpeg x264-params", "bframes=3\\:log-file=x", InvalidJob),
    ("ffmpeg stream", "v:0 -y", InvalidJob),
    ("ffmpeg option set", "../../etc/passwd", InvalidJob),
    ("hls codec", "h264 -y", InvalidJob),
    ("hls bitrate", "1M -f tee", InvalidJob),
    ("hls language", "en\n#EXT-X-KEY", InvalidJob),
    ("mkvmerge option", {"attach-file": "/etc/passwd"}, InvalidJob),
    ("mkvmerge option", {"output": "/x.mkv"}, InvalidJob),
    ("mkvmerge option", {"@options": "/etc/passwd"}, InvalidJob),
    ("mkvmerge option", {"split": "size:1M"}, InvalidJob),
    ("mkvmerge option", {"global-tags": "/etc/passwd"}, InvalidJob),
    ("mkvmerge option", {"title": None}, InvalidJob),
    ("mkvmerge source option", {"chapters": "/etc/passwd"}, InvalidJob),
    ("mkvmerge source option", {"chapter-charset": True}, InvalidJob),
    ("mkvmerge track option", {"tags": "/etc/passwd"}, InvalidJob),
    ("mkvmerge track option", {"timestamps": "/etc/passwd"}, InvalidJob),
    ("mkvmerge attachment type", "text/plain --output /x", InvalidJob),
    ("mkvextract number", "0:/etc/passwd", InvalidJob),
    ("handbrake video option", {"preset-import-file": "/etc/passwd"}, InvalidJob),
    ("handbrake video option", {"encopts": "ref=2:stats=x"}, InvalidJob),
    ("handbrake video option", {"encoder": "x264\n--output=/x"}, InvalidJob),
    ("handbrake video option", {"output": "/x"}, InvalidJob),
    ("handbrake subtitle option", {"srt-file": "/etc/passwd"}, InvalidJob),
    ("handbrake filter", {"queue-import-file": "/etc/passwd"}, InvalidJob),
    ("thumbnail time", "0 -f tee", InvalidJob),
    ("gource stream", "/etc/passwd", InvalidJob),
    ("gource resolution", "640x360 --load-config x", InvalidJob),
    ("gource colour", "000000 --output-custom-log x", InvalidJob),
    ("gource hide", "bloom --load-config x", InvalidJob),
    ("waveform colour", "000000[a];movie=x", InvalidJob),
    ("waveform look", "line,movie=x", InvalidJob),
    ("module", "../hls", InvalidJob),
    ("module", "os.system", InvalidJob),
]

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
