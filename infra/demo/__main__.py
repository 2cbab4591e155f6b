"""`make demo`: the main job from nothing to a proved file, and a film of this repository, as a stranger would ask.

It starts the private services, two workers, and publishes JSON to the exchange as any program would. The workers and
the services stay up afterwards, to be looked at; `make down` ends them.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import boto3

from infra.command import STATE, exit_code
from infra.demo.clip import CLIP_SECONDS, make_clip
from infra.demo.messages import OPTION_SET, film_message, main_job, publish
from infra.demo.places import prepared, say, title
from infra.demo.processes import WORKERS, start_page, start_workers
from infra.local import LocalServices
from infra.provision import provision
from infra.settings import ProvisionSettings
from worker.core.errors import ToolMissing
from worker.core.routing import JOBS

if TYPE_CHECKING:
    from infra.demo.places import Demo

TAKEN_SECONDS: Final = 120.0


def main() -> int:
    """Return 0 only if every job completed."""
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    return exit_code(lambda: run(s3=bool(os.environ.get("S3")), postgres=bool(os.environ.get("POSTGRES"))))


def run(*, s3: bool, postgres: bool) -> int:
    """Return the exit code of the whole demo."""
    services = LocalServices(STATE)
    names = ["rabbitmq", *(["s3"] if s3 else []), *(["postgres"] if postgres else [])]
    title(f"Services: {', '.join(names)}")
    services.up(names)
    demo = prepared(services, s3=s3, postgres=postgres)
    for line in provision(ProvisionSettings.read(demo.environment)):
        say(f"  {line}")
    title(f"Source: {CLIP_SECONDS} s of video, two audio languages and subtitles")
    make_clip(demo.source)
    say(f"  {demo.source}")
    start_workers(demo)
    address = start_page(demo)
    options = json.dumps(OPTION_SET)
    demo.worker("option-sets", "put", "ffmpeg", "demo-h264", "--options", options, stdout=subprocess.DEVNULL)
    job = main_job()
    title(f"Job: published to the exchange {JOBS}")
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
    if not mirror(STATE.parent, repository):
        title("Film: left out, for this checkout has no git history")
        return 0
    message = film_message(repository)
    title(f"Film: this repository's history, as a gource message to {JOBS}")
    publish(demo, message, "visualize")
    code = watch(demo, message["videoId"])
    if code == 0:
        show_film(demo, message["videoId"])
    return code


def mirror(checkout: Path, target: Path) -> bool:
    """Return whether there is a history; it is cloned into the demo's NAS, since jobs may touch nothing else."""
    git = shutil.which("git")
    if git is None:
        raise ToolMissing("git is not installed: run `make setup`")
    shutil.rmtree(target, ignore_errors=True)
    argv = (git, "clone", "--quiet", "--bare", "--no-hardlinks", "--", str(checkout), str(target))
    if subprocess.run(argv, check=False, capture_output=True).returncode:
        return False
    subprocess.run((git, "-C", str(target), "config", "uploadpack.allowFilter", "true"), check=True)
    return True


def show_film(demo: Demo, job_id: str) -> None:
    """Show where the film's playlist and its poster are."""
    shown = demo.worker("job", job_id, "--json", stdout=subprocess.PIPE)
    job = json.loads(shown.stdout)
    title(f"Result: {job['manifest_url']}")
    say(f"  {len(job['artifacts'])} files; its last frame: {job['thumbnail_url']}")
    if not str(job["manifest_url"]).startswith("s3://"):
        say(f"  play it:  ffplay {str(job['manifest_url']).removeprefix('file://')}")


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
        say(f"  {len(record['parts'])} parts, made by {', '.join(makers)}")
    for artifact in record["artifacts"]:
        path = _local_copy(demo, artifact["uri"])
        title(f"Result: {artifact['uri']}")
        argv = ("ffprobe", "-v", "error", "-of", "compact=p=0", "-show_entries")
        entries = "format=duration,size:stream=index,codec_name,width,height,channels:stream_tags=language"
        subprocess.run((*argv, entries, str(path)), check=False)
        say(f"  play it:  ffplay {path}")


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
    title("Still running: the services, two workers and the page")
    management = urlsplit(demo.environment["RABBITMQ_MANAGEMENT_URL"])
    say(f"  management UI    http://{management.hostname}:{management.port}/ (its login is in settings.sh)")
    say(f"  your own job     source {demo.folder / 'settings.sh'}; .venv/bin/leveret submit FILE --watch")
    say(f"  the workers' logs {', '.join(str(demo.folder / f'{name}.log') for name in WORKERS)}")
    say("  stop everything  make down")
    title(f"The page, to see the fleet, play results and upload films: http://{address}/")


if __name__ == "__main__":
    sys.exit(main())
