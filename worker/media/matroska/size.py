"""The length that a Matroska file claims, from its first bytes."""

from __future__ import annotations

import io
from typing import Final

from worker.media.matroska.elements import EBML, SEGMENT, head

HEAD_BYTES: Final = 4096
"""Enough for the EBML header and the head of the segment that follows it."""


def declared_bytes(begin: bytes) -> int | None:
    """Return where the first segment ends, in bytes from the file's start; None where its `begin` does not say.

    Who writes into a pipe cannot know it and says so: then the size is unknown (RFC 8794 6.2).
    """
    file = io.BytesIO(begin)
    header = head(file)
    if header is None or header[0] != EBML or header[1] is None or header[1] > len(begin):
        return None
    file.seek(header[1], io.SEEK_CUR)
    segment = head(file)
    if segment is None or segment[0] != SEGMENT or segment[1] is None:
        return None
    return file.tell() + segment[1]
