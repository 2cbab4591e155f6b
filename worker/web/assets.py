"""The page's own files, each under an address that changes with its content; and which players are there."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.resources import files
from typing import Final

FOLDER: Final = "static"
PLAYERS: Final = {"hls": "vendor/hls.min.js", "shaka": "vendor/shaka-player.compiled.js"}
TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@lru_cache(maxsize=64)
def content_of(name: str) -> bytes | None:
    """Return one of our files; None when there is none of this name."""
    if name not in names():
        return None
    return files("worker.web").joinpath(FOLDER, *name.split("/")).read_bytes()


@lru_cache(maxsize=1)
def names() -> frozenset[str]:
    """Return the names of our files."""
    root = files("worker.web").joinpath(FOLDER)
    found = set()
    for entry in root.iterdir():
        if entry.is_file():
            found.add(entry.name)
        elif entry.name == "vendor":
            found |= {f"vendor/{inner.name}" for inner in entry.iterdir() if inner.is_file()}
    return frozenset(name for name in found if name.endswith(tuple(TYPES)))


@lru_cache(maxsize=64)
def digest_of(name: str) -> str:
    """Return what stands for a file's content in its address."""
    return hashlib.sha256(content_of(name) or b"").hexdigest()[:12]


def path_of(name: str) -> str:
    """Return the address of one of our files."""
    return f"/static/{digest_of(name)}/{name}"


def players() -> dict[str, bool]:
    """Return which players the set-up brought."""
    return {name: file in names() for name, file in PLAYERS.items()}
