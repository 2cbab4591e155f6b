"""The first bytes of a file: what they say of its kind and its size, and whether it was ever finished."""

from __future__ import annotations

from typing import Final

HEAD_BYTES: Final = 1 << 16
"""The first bytes of a file that these functions look at: each takes them as `head`."""
_EBML: Final = bytes.fromhex("1A45DFA3")
# Brands of sounds, whose packets are all read, and of stills.
_NO_FILMS: Final = frozenset({b"M4A ", b"M4B ", b"avif", b"heic", b"mif1"})
_ASF: Final = bytes.fromhex("3026B2758E66CF11A6D900AA0062CE6C")
_ASF_PROPERTIES: Final = bytes.fromhex("A1DCAB8C47A9CF118EE400C00C205365")
_ASF_OBJECT: Final = 24
_ASF_HEADER: Final = 30
_UNKNOWN_BYTES: Final = 0x7FFF_0000
_MAX_BYTES: Final = 1 << 62


def stated_bytes(head: bytes) -> int | None:
    """Return how many bytes a RIFF or IFF file (WAV, RF64, AVI, AIFF) or an ASF says that it has; else None.

    A recorder that could not go back to its header leaves 0 or a size beyond 2 GiB.
    """
    if head.startswith(_ASF):
        return _asf_size(head)
    if head[:4] == b"RF64" and head[8:16] == b"WAVEds64":
        # EBU Tech 3306: the size that has no room in 32 bits
        long = int.from_bytes(head[20:28], "little")
        return long + 8 if 0 < long < _MAX_BYTES else None
    size = _riff_size(head)
    return size + 8 if size is not None and 0 < size < _UNKNOWN_BYTES else None


def is_unfinished(head: bytes) -> bool:
    """Return whether a RIFF or IFF file was never finished, so that what its header says of a length is no claim."""
    size = _riff_size(head)
    return size is not None and not 0 < size < _UNKNOWN_BYTES


def has_index(head: bytes) -> bool:
    """Return whether a file is a film in MP4, a Matroska or an AVI, which may be entered at its last key frame."""
    return (
        (head[4:8] == b"ftyp" and head[8:12] not in _NO_FILMS)
        or head.startswith(_EBML)
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
    )


def _asf_size(head: bytes) -> int | None:
    """Return the size that the File Properties Object states (Advanced Systems Format 3.2); None for a live file."""
    at = _ASF_HEADER
    while at + _ASF_OBJECT <= len(head):
        size = int.from_bytes(head[at + 16 : at + _ASF_OBJECT], "little")
        if head[at : at + 16] == _ASF_PROPERTIES:
            flags = int.from_bytes(head[at + 88 : at + 92], "little")
            return None if flags & 1 else int.from_bytes(head[at + 40 : at + 48], "little") or None
        if size < _ASF_OBJECT:
            return None
        at += size
    return None


def _riff_size(head: bytes) -> int | None:
    order = {b"RIFF": "little", b"RIFX": "big", b"FORM": "big"}.get(head[:4])
    if order is None or head[8:12] not in {b"WAVE", b"AVI ", b"AIFF", b"AIFC"}:
        return None
    return int.from_bytes(head[4:8], "little" if order == "little" else "big")
