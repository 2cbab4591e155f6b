"""Which bytes of a file every part needs, read from its top-level elements; hostile ones are fetched whole."""

from __future__ import annotations

import io

import pytest

from worker.media.parts import excerpt
from worker.media.parts.excerpt import Layout, PacketPlaces, layout_of

MP4, MKV = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excerpt, "HEAD_BYTES", 100)


def box(kind: bytes, length: int, *, large: bool = False, stated: int | None = None) -> bytes:
    size = length if stated is None else stated
    head = (1).to_bytes(4) + kind + size.to_bytes(8) if large else size.to_bytes(4) + kind
    return head + bytes(length - len(head))


def element(name: int, content: bytes, *, unknown: bool = False) -> bytes:
    identity = name.to_bytes((name.bit_length() + 7) // 8)
    size = b"\x01" + b"\xff" * 7 if unknown else (len(content) | 1 << 56).to_bytes(8)
    return identity + size + content


EBML, CUES, CLUSTER, SEGMENT, TAGS = 0x1A45DFA3, 0x1C53BB6B, 0x1F43B675, 0x18538067, 0x1254C367


def mkv(*children: bytes, unknown: bool = False) -> bytes:
    return element(EBML, b"head") + element(SEGMENT, b"".join(children), unknown=unknown)


def layout(content: bytes, container: str) -> Layout | None:
    return layout_of(io.BytesIO(content), container)


def test_all_but_the_media_data_of_an_mp4_is_needed_and_the_beginning_of_that():
    assert layout(box(b"ftyp", 20) + box(b"mdat", 5000) + box(b"moov", 300), MP4) == Layout(
        5320, ((0, 120), (5020, 5320))
    )
    fast = box(b"ftyp", 20) + box(b"moov", 300) + box(b"mdat", 5000, large=True)
    assert layout(fast, MP4) == Layout(5320, ((0, 420),))
    to_the_end = box(b"moov", 300) + box(b"mdat", 5000, stated=0)
    assert layout(to_the_end, MP4) == Layout(5300, ((0, 400),))


def test_all_but_the_clusters_of_a_matroska_file_is_needed_and_the_first_bytes_of_them():
    content = mkv(
        element(TAGS, bytes(50)), element(CLUSTER, bytes(900)), element(CLUSTER, bytes(900)), element(CUES, b"c" * 30)
    )
    found = layout(content, MKV)
    assert found is not None
    first, second = found.clusters
    assert content[first : first + 4] == content[second : second + 4] == CLUSTER.to_bytes(4)
    assert found.index == ((0, first + 100), (second + 12 + 900, len(content)))


@pytest.mark.parametrize(
    ("content", "container"),
    [
        (box(b"ftyp", 20) + box(b"mdat", 5000), MP4),
        (box(b"moov", 300) + box(b"moof", 100) + box(b"mdat", 500), MP4),
        (box(b"moov", 300) + box(b"mdat", 500, stated=4), MP4),
        (box(b"moov", 300) + box(b"mdat", 500, large=True, stated=7), MP4),
        (b"".join(box(b"free", 8) for _ in range(70)) + box(b"moov", 300), MP4),
        (box(b"moov", 300) + b"\0\0", MP4),
        (mkv(element(CLUSTER, bytes(90))), MKV),
        (mkv(element(CUES, b"c")), MKV),
        (mkv(element(CLUSTER, bytes(90), unknown=True), element(CUES, b"c")), MKV),
        (mkv(*[element(CLUSTER, b"") + element(TAGS, b"") for _ in range(70)], element(CUES, b"c")), MKV),
        (mkv(element(CLUSTER, bytes(90)))[:60], MKV),
        (b"", MKV),
        (b"", MP4),
        (b"G" * 1880, "mpegts"),
    ],
)
def test_a_file_without_an_index_or_with_a_broken_one_has_no_layout(content, container):
    assert layout(content, container) is None


def test_packets_without_a_place_or_too_many_make_no_excerpt(monkeypatch: pytest.MonkeyPatch):
    for line, most in (("packet|pts=1|pos=N/A|size=4", 9), ("packet|pts=1|pos=8|size=4", 0)):
        monkeypatch.setattr(excerpt, "MAX_PACKETS", most)
        places = PacketPlaces()
        places.line(line)
        assert places.excerpt(None, (0, 1), None, Layout(1000, ())) is None  # type: ignore[arg-type]
