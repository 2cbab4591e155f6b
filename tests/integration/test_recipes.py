"""Every example of the recipes page is run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.media import clip, ffmpeg
from worker.core.media_types import media_type_of
from worker.core.routing import queue_of
from worker.process.runner import ProcessRunner
from worker.registry import Registry
from worker.testing import TaskBench

if TYPE_CHECKING:
    from infra.local import LocalServices
    from tests.support.engine import Broker

pytestmark = pytest.mark.xdist_group("rabbitmq")

PAGE = Path(__file__).parents[2] / "docs/how-to/recipes.md"
TOOLS = {"ffmpeg": "/usr/bin/ffmpeg", "ffprobe": "/usr/bin/ffprobe"}
EXAMPLES = re.findall(r"(?m)^## (.+)$|^```(\w+)\n((?:.*\n)*?)```$", PAGE.read_text())


def blocks(language: str) -> list[tuple[str, str]]:
    """Return the examples in a language, each with its section's title."""
    found, title = [], ""
    for heading, kind, text in EXAMPLES:
        title = heading or title
        if kind == language:
            found.append((title, text))
    return found


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    clip(folder / "one.mkv", seconds=1)
    clip(folder / "two.mkv", picture="s=160x120:r=30", seconds=1)
    (folder / "film.srt").write_text("1\n00:00:00,100 --> 00:00:01,900\nHello\n")
    clip(folder / "bare.mkv", sounds=2, seconds=2)
    texts = ("-i", str(folder / "film.srt"), "-map", "0", "-map", "1", "-map", "1", "-c", "copy")
    languages = ("-metadata:s:s:0", "language=eng", "-metadata:s:s:1", "language=ger")
    ffmpeg("-i", str(folder / "bare.mkv"), *texts, *languages, str(folder / "film.mkv"))
    tags = "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc"
    hdr = (
        "-pix_fmt",
        "yuv420p10le",
        "-color_primaries",
        "bt2020",
        "-color_trc",
        "smpte2084",
        "-colorspace",
        "bt2020nc",
    )
    source = f"testsrc2=s=320x180:r=25:d=1,format=yuv420p10le,{tags}"
    ffmpeg("-f", "lavfi", "-i", source, "-c:v", "libx265", "-preset", "ultrafast", *hdr, str(folder / "hdr.mkv"))
    return folder


JOBS = blocks("json")
MADE = {
    "Another container, nothing encoded": ["h264", "aac", "aac"],
    "Trim": ["h264", "aac", "aac"],
    "HDR to SDR": ["h264"],
    "The sound alone": ["opus"],
    "Keep English only": ["h264", "aac", "subrip"],
    "Put films one after another": ["h264", "aac"],
}


@pytest.mark.parametrize(("title", "text"), JOBS, ids=[title for title, _ in JOBS])
async def test_a_job_of_the_page_makes_its_file(tmp_path: Path, films: Path, title: str, text: str):
    bench = TaskBench(tmp_path, ProcessRunner(dict(os.environ)), tools=TOOLS, roots=(films,))
    (bench.root / "in").symlink_to(films)
    for task in json.loads(text)["tasks"]:
        made = await bench.run_task(Registry.load().tasks[task["module"]], task["data"])
    (output,) = made.outputs.values()
    info = await bench.probe(output.path)
    assert [stream.codec for stream in info.streams] == MADE.get(title, [stream.codec for stream in info.streams])
    assert not made.warnings


def test_a_folder_s_films_become_a_job_each(tmp_path: Path):
    (tmp_path / "films").mkdir()
    for name in ("a b.mkv", "c.mkv"):
        (tmp_path / "films" / name).touch()
    stub = tmp_path / "bin" / "leveret"
    stub.parent.mkdir()
    stub.write_text(
        f'#!/bin/sh\n[ "$1 $2" = "submit -" ] && cat >> "{tmp_path}/jobs" && echo --- >> "{tmp_path}/jobs"\n'
    )
    stub.chmod(0o755)
    ((_, script),) = blocks("sh")
    environment = {"PATH": f"{stub.parent}:{os.environ['PATH']}", "FOLDER": str(tmp_path / "films")}
    subprocess.run(("sh", "-e", "-c", script), env=environment, check=True)
    jobs = [json.loads(text) for text in (tmp_path / "jobs").read_text().split("---\n") if text.strip()]
    assert [job["job_title"] for job in jobs] == ["a b", "c"]


def publishers() -> dict[str, tuple[str, ...]]:
    python = next(text for title, text in blocks("python") if title == "Publish")
    ((_, node),), ((_, curl),) = blocks("js"), blocks("bash")
    return {
        "python": (sys.executable, "-c", python),
        "node": ("node", "--input-type=module", "-e", node),
        "curl": ("bash", "-e", "-o", "pipefail", "-c", curl),
    }


@pytest.mark.parametrize("language", ["python", "node", "curl"])
async def test_a_publisher_of_the_page_reaches_the_queue(
    broker: Broker, provisioned_broker: str, services: LocalServices, language: str
):
    environment = os.environ | services.environment() | {"WORKER_BROKER_URL": provisioned_broker}
    subprocess.run(publishers()[language], env=environment, check=True, timeout=60)
    message = await broker.take(queue_of("cpu", "normal"))
    assert message.message_id == f"from-{language}"
    job: dict[str, Any] = json.loads(message.body)
    assert job["tasks"][0]["module"] == "probe"


def test_the_receiver_of_callbacks_answers(tmp_path: Path, unused_tcp_port: int):
    script = next(text for title, text in blocks("python") if title == "Receive a callback")
    body = json.dumps({"job_id": "j1", "state": "completed", "manifest_url": "/a.mp4"}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{unused_tcp_port}/", body)
    with (tmp_path / "received").open("w") as received:
        receiver = subprocess.Popen((sys.executable, "-c", script, str(unused_tcp_port)), stdout=received)
        try:
            assert answered(request) == 204
        finally:
            receiver.terminate()
            receiver.wait()
    assert (tmp_path / "received").read_text() == "j1 completed /a.mp4\n"


def answered(request: urllib.request.Request) -> int:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310  # our own, on loopback
                return int(answer.status)
        except OSError:
            assert time.monotonic() < deadline, "the receiver does not answer"
            time.sleep(0.05)


def test_nginx_serves_the_types_that_we_publish():
    ((_, text),) = blocks("nginx")
    types = dict(re.findall(r"^ {8}([\w./+-]+) (\w+);$", text, re.MULTILINE))
    assert {kind: media_type_of(f"a.{suffix}") for kind, suffix in types.items()} == {kind: kind for kind in types}
    assert text.count("Access-Control-Allow-Origin *") == text.count("location ")
    assert text.count("{") == text.count("}")
