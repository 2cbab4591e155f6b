"""The check that the folder of media that the containers share can be used by their user."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from worker.core.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path


def check_media(folder: Path) -> str:
    """Return one line on a folder that we can read and write; Misconfigured says whose it is, and what to do."""
    who = f"{os.geteuid()}:{os.getegid()}"
    if not folder.is_dir():
        raise Misconfigured(f"{folder} is no folder: mount one there (MEDIA_FOLDER in .env names the host's)")
    probe = folder / f".leveret-check-{secrets.token_hex(8)}"
    try:
        next(folder.iterdir(), None)
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        probe.unlink()
    except OSError as error:
        found = folder.stat()
        owner = f"{found.st_uid}:{found.st_gid}, mode {found.st_mode & 0o7777:o}"
        raise Misconfigured(
            f"{folder}: user {who} cannot use it ({error.strerror}); it belongs to {owner}:"
            f" set PUID={found.st_uid} and PGID={found.st_gid} in .env,"
            f" or let that user write there (`chown -R {who}` on the host)"
        ) from error
    return f"media {folder}: user {who} can read and write there"
