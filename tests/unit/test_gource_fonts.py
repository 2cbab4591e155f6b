"""Which characters a font has, and what is written with which font: real fonts, and small ones of every form."""

import struct

import pytest

from visualizers import fonts
from visualizers.fonts import digest_of, font_for, font_of, missing_character, undrawable_names, written_title
from worker.core.errors import BadInput, CannotServe

CAT = "\N{CAT FACE}"
LETTERS = (0x21, 0x7E)


def groups(*ranges):
    body = b"".join(struct.pack(">III", first, last, glyph) for first, last, glyph in ranges)
    return struct.pack(">HHIII", 12, 0, 16 + len(body), 0, len(ranges)) + body


def segments(*, delta=0, looked_up=()):
    """Return one segment of format 4 from `!` on, by a difference or by a list of glyphs, and the last one."""
    last = 0x21 + len(looked_up) - 1 if looked_up else 0x7E
    head = struct.pack(">HHHHHHH", 4, 0, 0, 4, 0, 0, 0) + struct.pack(">HHH", last, 0xFFFF, 0)
    rest = struct.pack(">HH", 0x21, 0xFFFF) + struct.pack(">HH", delta, 1)
    return head + rest + struct.pack(">HH", 4 if looked_up else 0, 0) + struct.pack(f">{len(looked_up)}H", *looked_up)


def font(path, subtable, *, key=(3, 10), outlines=b"glyf", collection=False):
    cmap = struct.pack(">HHHHI", 0, 1, *key, 12) + subtable
    start = 16 if collection else 0
    at = start + 12 + 2 * 16
    head = b"ttcf" + struct.pack(">HHII", 1, 0, 1, 16) if collection else b""
    tables = struct.pack(">4sIII", b"cmap", 0, at, len(cmap)) + struct.pack(">4sIII", outlines, 0, at + len(cmap), 0)
    path.write_bytes(head + b"\0\1\0\0" + struct.pack(">HHHH", 2, 0, 0, 0) + tables + cmap)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "FOLDERS", (tmp_path,))
    return tmp_path


def test_gources_own_font_has_latin_greek_and_cyrillic_and_no_ideograph():
    assert missing_character(fonts.OWN, "é→ąжα") is None
    assert missing_character(fonts.OWN, "a王b") == "王"


def test_a_title_that_the_own_font_has_needs_no_other(folder):
    font(folder / "a.ttf", groups((*LETTERS, 1), (ord("é"), ord("é"), 5)))
    assert font_for("Résumé — Łódź") is None
    assert font_for("") is None


@pytest.mark.parametrize("collection", [False, True])
def test_a_title_is_written_with_the_first_plain_font_that_has_all_of_it(folder, collection):
    every = groups((*LETTERS, 1), (ord(CAT), ord(CAT), 99))
    font(folder / "a-Bold.ttf", every)
    chosen = font(folder / "b.ttc" if collection else folder / "b.ttf", every, collection=collection)
    assert font_for(f"A {CAT}") == chosen
    assert font_for("A", {f"Ada {CAT}"}) == chosen, "a name is preferred, not required"
    assert font_of(digest_of(chosen)).read_bytes() == chosen.read_bytes()


def test_a_character_that_no_font_has_is_refused_by_name(folder):
    font(folder / "pictures.ttf", groups((*LETTERS, 1), (ord(CAT), ord(CAT), 99)), outlines=b"CBDT")
    font(folder / "no-letters.ttf", groups((ord(CAT), ord(CAT), 99)))
    font(folder / "empty.ttf", groups((*LETTERS, 1), (ord(CAT), ord(CAT), 0)))
    (folder / "torn.otf").write_bytes(b"OTTO\0\x09")
    with pytest.raises(BadInput, match=r"U\+5973 CJK UNIFIED IDEOGRAPH-5973") as caught:
        font_for("a 女 b")
    assert "fonts-noto-cjk" in str(caught.value)
    with pytest.raises(BadInput, match="no one font"):
        font_for(f"A {CAT}")
    assert font_for("A", {"女"}) is None
    assert undrawable_names(None, {"Ada", "女"}) == ["女"]


def test_characters_of_every_form_of_table_are_found(folder):
    assert missing_character(font(folder / "a.ttf", segments(delta=1), key=(3, 1)), "!~") is None
    assert missing_character(font(folder / "b.ttf", segments(looked_up=(7, 0, 9)), key=(0, 3)), "!#") is None
    assert missing_character(folder / "b.ttf", '"') == '"', "its glyph is the box"
    assert missing_character(folder / "none.ttf", "a") == "a"


@pytest.mark.parametrize(("title", "name"), [
    ("שלום", "HEBREW LETTER SHIN"), ("سلام", "ARABIC LETTER SEEN"), ("क्ष", "DEVANAGARI SIGN VIRAMA"),
    ("a\u200db", "ZERO WIDTH JOINER"), ("x\u0332", "COMBINING LOW LINE"),
])  # fmt: skip
def test_a_character_that_gource_would_draw_in_the_wrong_place_is_refused_by_name(title, name):
    with pytest.raises(BadInput, match=name):
        written_title(title)


def test_a_title_is_composed_and_needs_no_emoji_selector():
    assert written_title("e\u0301 \u2764\ufe0f") == "é \u2764"


def test_a_worker_without_the_font_of_the_film_cannot_draw_its_part(folder):
    assert font_of("") is None
    with pytest.raises(CannotServe, match="the font"):
        font_of("ab" * 32)
