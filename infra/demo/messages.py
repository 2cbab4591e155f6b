"""The demo's two messages, and their publication."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, Final

import pika

from infra.demo.places import Demo, say
from worker.core.routing import JOBS, routing_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PART_SECONDS: Final = 4
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


def film_message(repository: Path) -> dict[str, Any]:
    """Return the message that asks for the film, in the gource dialect."""
    return {
        "type": "gource",
        "repoURL": f"file://{repository}",
        "videoId": f"demo-{uuid.uuid4().hex[:12]}",
        "gource": GOURCE_OPTIONS,
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
    say(f"  {job.get('job_id') or job['videoId']}")
