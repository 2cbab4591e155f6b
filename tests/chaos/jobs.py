"""The jobs of a campaign: short, mixed, each with what may become of it."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .planted import of_jobs

if TYPE_CHECKING:
    from pathlib import Path

    from types_boto3_s3 import S3Client

KINDS = {
    "copy": 20, "move": 8, "large": 4, "encode": 12, "file": 12, "segments": 20, "permanent": 8, "transient": 10,
    "long": 4, "cancelled": 6, "telling": 2, "userinfo": 2, "calling": 2, "git user": 1, "git query": 1, "divided": 5,
}  # fmt: skip
"""How often each kind is drawn, of about a hundred."""
INPUTS = ("nas://in", "s3://media/sources")
COPIED_BYTES, MOVED_BYTES, SMALL_BYTES = 300_000, 10_000, 2_000
LARGE_BYTES = 9 << 20
"""More than a part: S3 gets it in several, under a hidden key."""
HAS_GOURCE = shutil.which("gource") is not None
SECRETIVE = ("telling", "userinfo", "calling", "git user", "git query")
"""The kinds that carry a secret; every campaign has each of them."""
ALWAYS = (*SECRETIVE, "divided")
"""The kinds that every campaign has."""
FRAMES = 125
"""What a divided film has, in two ranges, and its sound beside."""
DYING = frozenset({"permanent", "telling", "userinfo", "git user", "git query"})
"""The kinds that never may complete."""


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job: its message, whether it is submitted row first, and when somebody cancels it."""

    job_id: str
    kind: str
    body: bytes
    destination: str
    submitted: bool
    cancel_after: float | None = None
    source: Path | None = None
    size: int | None = None
    """Bytes of each file that it makes; None where only an encoder knows."""


def make_sources(nas: Path, s3: S3Client) -> None:
    """Put the files that jobs read onto the NAS and into the bucket."""
    (nas / "in" / "source.bin").write_bytes(random.Random(5).randbytes(COPIED_BYTES))
    picture = ("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=1", "-c:v", "libx264", "-preset", "ultrafast")
    argv = ("ffmpeg", "-nostdin", "-v", "error", "-y", *picture, str(nas / "in" / "clip.mkv"))
    subprocess.run(argv, check=True, timeout=60)
    length = FRAMES // 25
    film = ("-f", "lavfi", "-i", f"testsrc2=s=160x90:r=25:d={length}", "-f", "lavfi", "-i", f"sine=d={length}")
    coded = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac")
    argv = ("ffmpeg", "-nostdin", "-v", "error", "-y", *film, *coded, str(nas / "in" / "film.mkv"))
    subprocess.run(argv, check=True, timeout=60)
    for name in ("source.bin", "clip.mkv", "film.mkv"):
        s3.put_object(Bucket="media", Key=f"sources/{name}", Body=(nas / "in" / name).read_bytes())


def plan(index: int, seed: int, dice: random.Random, nas: Path, kind: str = "") -> PlannedJob:
    """Return the job of this number."""
    job_id = f"chaos-{seed}-{index:04}"
    kind = kind or dice.choices(list(KINDS), list(KINDS.values()))[0]
    places = (f"nas://out/{job_id}/", f"s3://media/chaos/{job_id}/")
    destination = places[1] if kind == "large" else dice.choice(places)
    source = None
    if kind == "move":
        source = nas / "in" / f"{job_id}.bin"
        source.write_bytes(dice.randbytes(MOVED_BYTES))
    task = _secretive(kind, seed) or _task(kind, job_id, destination, dice)
    document = {"job_id": job_id, "job_title": f"{kind} {index}", "destination": destination, "tasks": [task]}
    if kind == "calling":
        document["callback_url"] = f"https://127.0.0.1:9/callback?access_token={of_jobs(seed)['callback'].text}"
    if kind.startswith("git"):
        document["lane"] = "cpu"  # the campaign's workers serve no other
    return PlannedJob(
        job_id=job_id,
        kind=kind,
        body=json.dumps(document).encode(),
        destination=destination,
        submitted=dice.random() < 0.5,
        cancel_after=dice.uniform(0, 6) if kind == "cancelled" else None,
        source=source,
        size={"encode": None, "divided": None, "copy": COPIED_BYTES, "move": MOVED_BYTES}.get(
            kind, task["data"].get("size", SMALL_BYTES)
        ),
    )


def _secretive(kind: str, seed: int) -> dict[str, Any] | None:
    """Return a task that carries a secret; no address of it is ever reached."""
    planted = of_jobs(seed)
    match kind:
        case "telling":
            return {"module": "chaos", "data": {"token": planted["field"].text, "permanent": True}}
        case "userinfo":
            url = f"https://reader:{planted['userinfo'].text}@127.0.0.1:9/film.bin"
            return {"module": "cleanup", "data": {"copy": [{"source": url, "destination": "film.bin"}]}}
        case "git user" | "git query" if HAS_GOURCE:
            urls = {
                "git user": f"https://x-access-token:{planted['git user'].text}@127.0.0.1:9/a.git",
                "git query": f"https://127.0.0.1:9/a.git?private_token={planted['git query'].text}",
            }
            return {"module": "gource", "data": {"repo_url": urls[kind], "output": "mp4"}}
        case "git user" | "git query":
            return {"module": "chaos", "data": {"permanent": True}}
        case _:
            return None


def _task(kind: str, job_id: str, destination: str, dice: random.Random) -> dict[str, Any]:
    match kind:
        case "copy":
            transfer = {"source": f"{dice.choice(INPUTS)}/source.bin", "destination": f"{destination}copy.bin"}
            return {"module": "cleanup", "data": {"copy": [transfer]}}
        case "move":
            transfer = {"source": f"nas://in/{job_id}.bin", "destination": f"{destination}moved.bin"}
            return {"module": "cleanup", "data": {"move": [transfer]}}
        case "encode":
            options = {"codec": "libx264", "preset": "ultrafast"}
            return {
                "module": "ffmpeg",
                "data": {
                    "sources": [f"{dice.choice(INPUTS)}/clip.mkv"],
                    "source_maps": [{"source": 0, "specifier": "v", "stream": 0}],
                    "output_maps": [{"specifier": "v", "stream": 0, "options": options}],
                    "output_file": "encoded.mkv",
                },
            }
        case "divided":
            return {"module": "ffmpeg", "data": _divided(f"{dice.choice(INPUTS)}/film.mkv")}
    return {"module": "chaos", "data": _data(kind, dice)}


def _divided(source: str) -> dict[str, Any]:
    """Return the data of a film that all workers make together."""
    video = {"codec": "libx264", "preset": "ultrafast"}
    return {
        "sources": [source],
        "source_maps": [{"specifier": "v"}, {"specifier": "a"}],
        "output_maps": [{"specifier": "v", "options": video}, {"specifier": "a", "options": {"codec": "aac"}}],
        "output_file": "film.mkv",
        "parts": {"seconds": 2},
    }


def _data(kind: str, dice: random.Random) -> dict[str, Any]:
    match kind:
        case "permanent":
            return {"permanent": True, "seconds": round(dice.uniform(0, 0.5), 2)}
        case "transient":
            return {"failing_epochs": dice.randint(1, 2)}
        case "measured":
            return {"seconds": 3.0}
        case "long":
            return {"seconds": 6.5}
        case "cancelled":
            return {"seconds": 4.0}
        case "large":
            return {"size": LARGE_BYTES}
        case "segments":
            return {"segments": 4, "seconds": round(dice.uniform(0, 2), 2), "name": "main.bin"}
        case _:
            return {"size": dice.randint(1000, 200_000), "seconds": round(dice.uniform(0, 2), 2)}
