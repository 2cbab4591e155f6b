"""`make demo`: the main job from nothing to a proved file, and a film of this repository, as a stranger would ask.

It starts the private services, two workers, and publishes JSON to the exchange as any program would. The workers and
the services stay up afterwards, to be looked at; `make down` ends them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import boto3
import pika

from infra.local import LocalServices
from infra.local.ports import LOOPBACK, free_port, is_free
from infra.local.process import Identity, end, spawn
from infra.provision import provision
from infra.settings import ProvisionSettings
from worker.core.errors import LeveretError, ToolMissing
from worker.core.routing import JOBS, routing_key

if TYPE_CHECKING:
    from collections.abc import Mapping

STATE: Final = Path(__file__).resolve().parent.parent / ".local"
CLIP_SECONDS: Final = 24
PART_SECONDS: Final = 4
LANGUAGES: Final = ("eng", "fra")
OPTION_SET: Final = {"codec": "libx264", "preset": "veryfast", "crf": 23, "pix_fmt": "yuv420p"}
# A short film: what happens after the last commit, some thirteen seconds at the usual pace, takes a third of that.
GOURCE_OPTIONS: Final = {
    "resolution": "-1280x720",
    "--output-framerate": 30,
    "--title": "Leveret",
    "--key": True,
    "--time-scale": 3,
    "length": 6,
}
WORKERS: Final = ("worker", "second-worker")
STOP_SECONDS: Final = 15.0
TAKEN_SECONDS: Final = 120.0
PAGE_PORT: Final = 8080


@dataclass(frozen=True, slots=True)
class Demo:
    """The folder of a demo, and the environment that its worker and its commands share."""

    folder: Path
    environment: Mapping[str, str]

    @property
    def source(self) -> Path:
        """Return the clip that the job reads."""
        return self.folder / "nas" / "demo-source.mkv"

    def worker(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Return how a command of the worker's own command line ended."""
        argv = (sys.executable, "-m", "worker", *arguments)
        return subprocess.run(argv, env=dict(self.environment), cwd=STATE.parent, text=True, check=False, **options)


def main() -> int:
    """Return 0 only if every job completed."""
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    try:
        return run(s3=bool(os.environ.get("S3")), postgres=bool(os.environ.get("POSTGRES")))
    except LeveretError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130


def run(*, s3: bool, postgres: bool) -> int:
    """Return the exit code of the whole demo."""
    services = LocalServices(STATE)
    names = ["rabbitmq", *(["s3"] if s3 else []), *(["postgres"] if postgres else [])]
    _title(f"Services: {', '.join(names)}")
    services.up(names)
    demo = prepared(services, s3=s3, postgres=postgres)
    for line in provision(ProvisionSettings.read(demo.environment)):
        _say(f"  {line}")
    _title(f"Source: {CLIP_SECONDS} s of video, two audio languages and subtitles")
    make_clip(demo.source)
    _say(f"  {demo.source}")
    start_worker(demo)
    address = start_page(demo)
    options = json.dumps(OPTION_SET)
    demo.worker("option-sets", "put", "ffmpeg", "demo-h264", "--options", options, stdout=subprocess.DEVNULL)
    job = main_job()
    _title(f"Job: published to the exchange {JOBS}")
    publish(demo, job)
    code = watch(demo, job["job_id"])
    if code == 0:
        show_result(demo, job["job_id"])
    code = film_of_history(demo) or code
    show_ways_on(demo, address)
    return code


def film_of_history(demo: Demo) -> int:
    """Return 0 when the second job completed: this repository's own history, as a gource message, becomes HLS."""
    repository = demo.folder / "nas" / "leveret.git"
    if not mirror(repository):
        _title("Film: left out, for this checkout has no git history")
        return 0
    message = film_message(repository)
    _title(f"Film: this repository's history, as a gource message to {JOBS}")
    publish(demo, message, "visualize")
    code = watch(demo, message["videoId"])
    if code == 0:
        show_film(demo, message["videoId"])
    return code


def film_message(repository: Path) -> dict[str, Any]:
    """Return the message that asks for the film, in the gource dialect."""
    return {
        "type": "gource",
        "repoURL": f"file://{repository}",
        "videoId": f"demo-{uuid.uuid4().hex[:12]}",
        "gource": GOURCE_OPTIONS,
    }


def mirror(target: Path) -> bool:
    """Return whether there is a history; it is cloned into the demo's NAS, since jobs may touch nothing else."""
    git = shutil.which("git")
    if git is None:
        raise ToolMissing("git is not installed: run `make setup`")
    shutil.rmtree(target, ignore_errors=True)
    argv = (git, "clone", "--quiet", "--bare", "--no-hardlinks", "--", str(STATE.parent), str(target))
    if subprocess.run(argv, check=False, capture_output=True).returncode:
        return False
    subprocess.run((git, "-C", str(target), "config", "uploadpack.allowFilter", "true"), check=True)
    return True


def show_film(demo: Demo, job_id: str) -> None:
    """Show where the film's playlist and its poster are."""
    shown = demo.worker("job", job_id, "--json", stdout=subprocess.PIPE)
    job = json.loads(shown.stdout)
    _title(f"Result: {job['manifest_url']}")
    _say(f"  {len(job['artifacts'])} files; its last frame: {job['thumbnail_url']}")
    if not str(job["manifest_url"]).startswith("s3://"):
        _say(f"  play it:  ffplay {str(job['manifest_url']).removeprefix('file://')}")


def prepared(services: LocalServices, *, s3: bool, postgres: bool) -> Demo:
    """Return the demo's places, with an environment that owes nothing to the user's own settings."""
    folder = STATE / "demo"
    for name in ("nas", "library", "scratch"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("WORKER_", "AWS_"))}
    environment = services.environment("rabbitmq")
    environment |= services.environment("s3") if s3 else {"WORKER_STORAGE_URL": f"file://{folder / 'library'}/"}
    database = {"WORKER_DATABASE_URL": f"sqlite:///{folder / 'leveret.db'}"}
    environment |= services.environment("postgres") if postgres else database
    environment |= {
        "WORKER_NAS_ROOT": str(folder / "nas"),
        "WORKER_SCRATCH": str(folder / "scratch"),
        "WORKER_ALLOW_FILE_REPOS": "true",
        "WORKER_GRACE_SECONDS": "5",
        "WORKER_HEARTBEAT_SECONDS": "2",
        "WORKER_LOG_FORMAT": "json",
    }
    lines = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
    settings = folder / "settings.sh"
    settings.touch(mode=0o600)
    settings.write_text(lines)
    return Demo(folder, inherited | environment)


def make_clip(path: Path) -> None:
    """Make the source with ffmpeg: a test picture, a tone in each language, a line of text a second."""
    if path.exists():
        return
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise ToolMissing("ffmpeg is not installed: run `make setup`")
    text = path.with_suffix(".srt")
    text.write_text("".join(_caption(second) for second in range(CLIP_SECONDS)))
    part = path.with_suffix(".part.mkv")
    sounds = [f"sine=frequency={440 + 110 * index}:duration={CLIP_SECONDS}" for index in range(len(LANGUAGES))]
    inputs = [f"testsrc2=size=1280x720:rate=30:duration={CLIP_SECONDS}", *sounds]
    argv = [ffmpeg, "-nostdin", "-v", "error", "-y"]
    for one in inputs:
        argv += ["-f", "lavfi", "-i", one]
    argv += ["-i", str(text), "-map", "0:v", "-map", "1:a", "-map", "2:a", "-map", "3:s"]
    for index, language in enumerate(LANGUAGES):
        argv += [f"-metadata:s:a:{index}", f"language={language}"]
    argv += ["-metadata:s:s:0", "language=eng", "-c:v", "libx264", "-preset", "ultrafast", "-crf", "18"]
    argv += ["-c:a", "aac", "-b:a", "128k", "-c:s", "srt", str(part)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ToolMissing(f"ffmpeg could not make the clip: {done.stderr.strip().splitlines()[-1]}")
    part.replace(path)


def _caption(second: int) -> str:
    return f"{second + 1}\n00:00:{second:02},000 --> 00:00:{second:02},900\nSecond {second + 1}\n\n"


def main_job() -> dict[str, Any]:
    """Return the message: encode the video by an option set, in parts, keep the sound and the text, tidy up."""
    maps = [
        {"specifier": "v", "stream": 0, "option_set": "demo-h264"},
        {"specifier": "a", "stream": 0, "options": {"codec": "copy"}},
        {"specifier": "a", "stream": 1, "options": {"codec": "copy"}},
        {"specifier": "s", "stream": 0, "options": {"codec": "copy"}},
    ]
    ffmpeg = {
        "sources": ["nas://demo-source.mkv"],
        "source_maps": [{"source": 0, "specifier": kind, "stream": n} for kind, n in ("v0", "a0", "a1", "s0")],
        "output_maps": maps,
        "output_file": "encoded.mkv",
        # Two workers make a clip so short by themselves only when they are asked to.
        "parts": {"seconds": PART_SECONDS},
    }
    cleanup = {
        "verify_exists": ["encoded.mkv"],
        "move": [{"source": "encoded.mkv", "destination": "demo.mkv"}],
    }
    return {
        "job_id": f"demo-{uuid.uuid4().hex[:12]}",
        "job_title": "The demo's main job",
        "tasks": [{"module": "ffmpeg", "data": ffmpeg}, {"module": "cleanup", "data": cleanup}],
    }


def publish(demo: Demo, job: Mapping[str, Any], lane: str = "cpu") -> None:
    """Publish a job as any program would: JSON, an exchange, a routing key."""
    parameters = pika.URLParameters(demo.environment["WORKER_BROKER_URL"])
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        # pika annotates only in part.
        properties = pika.BasicProperties(content_type="application/json", delivery_mode=2)  # type: ignore[no-untyped-call]
        channel.basic_publish(JOBS, routing_key(lane, "normal"), json.dumps(job).encode(), properties, mandatory=True)
    _say(f"  {job.get('job_id') or job['videoId']}")


def watch(demo: Demo, job_id: str) -> int:
    """Return 0 when the job completed; its progress is shown live meanwhile."""
    # The row is the worker's to make, and a worker proves its host before it takes a first job.
    deadline = time.monotonic() + TAKEN_SECONDS
    while demo.worker("job", job_id, "--json", capture_output=True).returncode and time.monotonic() < deadline:
        time.sleep(0.5)
    code = demo.worker("watch", job_id).returncode
    demo.worker("job", job_id)
    return code


def show_result(demo: Demo, job_id: str) -> None:
    """Show where the output is, and what ffprobe says of it."""
    shown = demo.worker("job", job_id, "--json", stdout=subprocess.PIPE)
    record = json.loads(shown.stdout)
    makers = sorted({part["worker"] for part in record["parts"]})
    if makers:
        _say(f"  {len(record['parts'])} parts, made by {', '.join(makers)}")
    for artifact in record["artifacts"]:
        path = _local_copy(demo, artifact["uri"])
        _title(f"Result: {artifact['uri']}")
        argv = ("ffprobe", "-v", "error", "-of", "compact=p=0", "-show_entries")
        entries = "format=duration,size:stream=index,codec_name,width,height,channels:stream_tags=language"
        subprocess.run((*argv, entries, str(path)), check=False)
        _say(f"  play it:  ffplay {path}")


def _local_copy(demo: Demo, uri: str) -> Path:
    if not uri.startswith("s3://"):
        return Path(uri.removeprefix("file://"))
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    path = demo.folder / "from-s3" / Path(key).name
    path.parent.mkdir(exist_ok=True)
    client = boto3.client(
        "s3",
        endpoint_url=demo.environment["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=demo.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=demo.environment["AWS_SECRET_ACCESS_KEY"],
    )
    client.download_file(bucket, key, str(path))
    return path


def show_ways_on(demo: Demo, address: str) -> None:
    """Say what is still running, and how to go on or to end it."""
    _title("Still running: the services, two workers and the page")
    management = urlsplit(demo.environment["RABBITMQ_MANAGEMENT_URL"])
    _say(f"  management UI    http://{management.hostname}:{management.port}/ (its login is in settings.sh)")
    _say(f"  your own job     source {demo.folder / 'settings.sh'}; .venv/bin/leveret submit FILE --watch")
    _say(f"  the workers' logs {', '.join(str(demo.folder / f'{name}.log') for name in WORKERS)}")
    _say("  end it all       make down")
    _title(f"See it all, play it, give films in: http://{address}/")


def start_worker(demo: Demo) -> None:
    """Start the demo's two workers anew: another run may have had other services."""
    for name in WORKERS:
        _start(demo, name)


def start_page(demo: Demo) -> str:
    """Start the demo's page anew; return its address once it answers."""
    end_page()
    port = PAGE_PORT if is_free(PAGE_PORT) else free_port(frozenset())
    address = f"{LOOPBACK}:{port}"
    _start(demo, "page", "serve", "--address", address)
    deadline = time.monotonic() + TAKEN_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}/healthz", timeout=2):
            return address
        time.sleep(0.2)
    raise LeveretError(f"the page did not start: see {demo.folder / 'page.log'}")


def end_page() -> bool:
    """Return whether a page of an earlier demo was running; it is not any more."""
    return _end("page")


def _start(demo: Demo, name: str, *arguments: str) -> None:
    _end(name)
    process = spawn(
        (sys.executable, "-m", "worker", *arguments),
        environment=demo.environment,
        folder=STATE.parent,
        log=demo.folder / f"{name}.log",
    )
    if identity := Identity.of(process.pid):
        _file_of(name).write_text(json.dumps(identity.to_json()))


def end_worker() -> bool:
    """Return whether a worker of an earlier demo was running; none is any more."""
    ended = [_end(name) for name in WORKERS]
    return any(ended)


def _end(name: str) -> bool:
    path = _file_of(name)
    if not path.exists():
        return False
    identity = Identity.from_json(json.loads(path.read_text()))
    alive = identity.is_alive()
    if alive:
        end(identity, signal.SIGTERM, STOP_SECONDS)
    path.unlink()
    return alive


def _file_of(name: str) -> Path:
    return STATE / "demo" / f"{name}.json"


def _title(text: str) -> None:
    _say(f"\n== {text}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
