"""Files of an attempt: under which name tools read one, what is known of one that will be published."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.core.attempt import Artifact
from worker.core.errors import VerificationFailed
from worker.core.local_names import is_plain

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.location import External

_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that will be published: where it is, where it goes, what it is to a reader."""

    path: Path
    place: External
    role: str
    media_type: str
    immutable: bool
    duration: float | None


def measured(staged: Staged, job_id: str) -> Artifact:
    """Return a staged file of a job, measured and hashed; VerificationFailed where it is missing or empty."""
    digest = hashlib.sha256()
    size = 0
    try:
        with staged.path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                size += len(block)
    except FileNotFoundError as error:
        raise VerificationFailed(f"no task made the promised output {staged.place}") from error
    if size == 0:
        raise VerificationFailed(f"the output {staged.place} is empty")
    return Artifact(
        role=staged.role,
        path=staged.path,
        uri=str(staged.place),
        media_type=staged.media_type,
        bytes=size,
        sha256=digest.hexdigest(),
        duration=staged.duration,
        immutable=staged.immutable,
        job_id=job_id,
    )


def plainly_named(path: Path, link: Path) -> Path:
    """Return `path`, or a new `link` to it where tools may read its name as a pattern."""
    # mkvmerge opens the .sub that is beside a VobSub's .idx, and takes no name for a pattern
    if path == link or is_plain(str(path)) or path.suffix.lower() == ".idx":
        return path
    link.symlink_to(path)
    return link
