"""The characters that gource can write: it draws one glyph of one font for each, from left to right."""

from __future__ import annotations

import hashlib
import re
import struct
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from worker.core.errors import BadInput, CannotServe

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

OWN: Final = Path("/usr/share/fonts/truetype/freefont/FreeSans.ttf")
"""The font that gource draws with by default, as Debian and Ubuntu build it."""
FOLDERS: Final = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
SUFFIXES: Final = frozenset({".otf", ".ttc", ".ttf"})
MAX_FONTS: Final = 2000
_STYLED: Final = re.compile("bold|italic|oblique|black|light|thin|mono|serif|condensed", re.IGNORECASE)
_ASCII: Final = frozenset(map(chr, range(0x21, 0x7F)))
# The tables of Unicode that a font may have, best first: all of it, then its first 65,536 characters.
_ALL: Final = frozenset({(3, 10), (0, 4), (0, 6)})
_FIRST: Final = frozenset({(3, 1), (0, 3), (0, 2), (0, 1), (0, 0)})
_LARGEST_TABLE: Final = 16 << 20


def written_title(title: str) -> str:
    """Return a title as gource is given it: composed, and without the selectors that make a character an emoji.

    BadInput names a character that gource would draw in the wrong place, whatever the font.
    """
    composed = "".join(c for c in unicodedata.normalize("NFC", title) if c not in "\ufe0e\ufe0f")
    for character in composed:
        if unicodedata.bidirectional(character) in {"R", "AL"}:
            raise BadInput(f"title: gource writes from left to right, and {name_of(character)} is not")
        if unicodedata.category(character) in {"Mn", "Mc", "Me", "Cf"}:
            raise BadInput(f"title: gource draws each character for itself, and {name_of(character)} joins another")
    return composed


def font_for(title: str, names: Collection[str] = ()) -> Path | None:
    """Return the font that has all characters of a title, and if one can be found of the names too; None for gource's.

    BadInput names the first character of the title that no font of this host has.
    """
    needed, preferred = _visible(title), _visible("".join(names))
    if OWN.is_file() and missing_character(OWN, needed | preferred) is None:
        return None
    able = [font for font in _fonts() if missing_character(font, needed | _ASCII) is None]
    if chosen := next((font for font in able if missing_character(font, preferred) is None), None):
        return chosen
    if not needed or (OWN.is_file() and missing_character(OWN, needed) is None):
        return None
    if able:
        return able[0]
    missing = [
        character for character in sorted(needed) if all(missing_character(font, {character}) for font in _fonts())
    ]
    words = f"title: no font of this worker has {name_of(missing[0])}" if missing else "title: no one font has it all"
    raise BadInput(f"{words}; install one with outlines (fonts-noto-cjk, fonts-symbola), or write another title")


def missing_character(font: Path, characters: Collection[str]) -> str | None:
    """Return the first of the characters that a font has no outline of, None if it has all."""
    has = _ranges(font)
    return next((c for c in sorted(characters) if not any(first <= ord(c) <= last for first, last in has)), None)


def digest_of(font: Path | None) -> str:
    """Return the SHA-256 of a font, empty for gource's own: workers draw the same film with the same font."""
    if font is None:
        return ""
    with font.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def font_of(digest: str) -> Path | None:
    """Return the font that has a SHA-256, None for gource's own; CannotServe where this host has it not."""
    if not digest:
        return None
    if (font := next((path for path in _fonts() if digest_of(path) == digest), None)) is None:
        raise CannotServe("this worker lacks the font that the rest of the film is written with")
    return font


def undrawable_names(font: Path | None, names: Collection[str]) -> list[str]:
    """Return the names, sorted, of which a font, or gource's own, has not every character."""
    drawn = font or OWN
    return sorted(name for name in names if drawn.is_file() and missing_character(drawn, _visible(name)))


def name_of(character: str) -> str:
    """Return a character, its number and its name, as Unicode calls it."""
    return f"{character} (U+{ord(character):04X} {unicodedata.name(character, 'without a name')})"


def _visible(text: str) -> frozenset[str]:
    return frozenset(character for character in text if not character.isspace())


def _fonts() -> Iterator[Path]:
    """Yield the fonts of this host, always in the same order, those of plain letters first."""
    found = [path for folder in FOLDERS for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES]
    yield from sorted(found, key=lambda path: (bool(_STYLED.search(path.name)), path))[:MAX_FONTS]


@lru_cache(maxsize=MAX_FONTS)
def _ranges(font: Path) -> tuple[tuple[int, int], ...]:
    """Return the characters that a font has outlines of, as first and last of each range; none of what is no font."""
    try:
        with font.open("rb") as file:
            return tuple(_characters(file))
    except (OSError, struct.error, ValueError):
        return ()


def _characters(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield the ranges of the OpenType table `cmap`, of the first font of a collection."""
    start = 0
    if file.read(4) == b"ttcf":
        file.seek(12)
        (start,) = struct.unpack(">I", file.read(4))
    file.seek(start + 4)
    (count,) = struct.unpack(">H", file.read(2))
    file.seek(start + 12)
    tables = {}
    for tag, _, offset, length in struct.iter_unpack(">4sIII", file.read(16 * count)):
        tables[tag] = (offset, length)
    if not tables.keys() & {b"glyf", b"CFF ", b"CFF2"}:
        # Pictures, as of coloured emoji: gource draws outlines.
        return
    offset, length = tables.get(b"cmap", (0, 0))
    file.seek(offset)
    cmap = file.read(min(length, _LARGEST_TABLE))
    (subtables,) = struct.unpack_from(">H", cmap, 2)
    entries = struct.iter_unpack(">HHI", cmap[4 : 4 + 8 * subtables])
    at = {(platform, encoding): where for platform, encoding, where in entries}
    for wanted in (_ALL, _FIRST):
        for key in sorted(at.keys() & wanted, reverse=True):
            (form,) = struct.unpack_from(">H", cmap, at[key])
            if (read := _FORMATS.get(form)) is not None:
                yield from read(cmap, at[key])
                return


def _groups(cmap: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of a subtable of format 12."""
    (count,) = struct.unpack_from(">I", cmap, at + 12)
    for first, last, glyph in struct.iter_unpack(">III", cmap[at + 16 : at + 16 + 12 * count]):
        yield (first if glyph else first + 1, last)


def _segments(cmap: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of a subtable of format 4, without the characters that it maps to no glyph."""
    (twice,) = struct.unpack_from(">H", cmap, at + 6)
    lasts, firsts = at + 14, at + 16 + twice
    for index in range(0, twice, 2):
        last, first = (struct.unpack_from(">H", cmap, place + index)[0] for place in (lasts, firsts))
        delta, distance = (struct.unpack_from(">H", cmap, firsts + index + more * twice)[0] for more in (1, 2))
        # Without a distance the glyph's number follows from the code, else it is looked up.
        base = firsts + 2 * twice + index + distance
        codes = range(first, min(last, 0xFFFE) + 1)
        glyphs = (
            (code + delta) & 0xFFFF if not distance else _glyph(cmap, base + 2 * (code - first)) for code in codes
        )
        yield from _runs(first, glyphs)


def _glyph(cmap: bytes, at: int) -> int:
    return int(struct.unpack_from(">H", cmap, at)[0]) if at + 2 <= len(cmap) else 0


def _runs(first: int, glyphs: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the ranges of the codes from `first` on that have a glyph."""
    begun, code = None, first
    for code, glyph in enumerate(glyphs, first):
        if glyph:
            begun = code if begun is None else begun
        elif begun is not None:
            yield begun, code - 1
            begun = None
    if begun is not None:
        yield begun, code


_FORMATS: Final = {4: _segments, 12: _groups}
