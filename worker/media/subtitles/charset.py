"""Charsets of text files: what is UTF-8 is read, what is not is read as the job says, and is never guessed at."""

from __future__ import annotations

import codecs
import re
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints

from worker.core.errors import BadInput

MAX_BYTES: Final = 16 << 20
"""The most bytes of a text file; a film's subtitles have less than a hundredth of it."""
_LOOKED_AT: Final = 1 << 16
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LIKELY: Final = [
    "cp1252", "cp1251", "gb18030", "cp932", "cp949", "big5", "euc_jp", "cp1250", "cp1253", "cp1254", "cp1255",
    "cp1256", "koi8_r",
]  # fmt: skip
"""The usual ones, the first of them preferred where several fit alike."""
_ALIKE: Final = 0.02
_DECLARED: Final = re.compile(rb"""\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_:.+-]{0,39}")
# Python's own encodings of text; the others turn bytes into bytes, or text into an escape of it
_UNFIT: Final = frozenset({"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "mbcs", "oem"})


def is_charset(name: str) -> bool:
    """Return whether `name` is a charset that text can be read in: `cp1252`, `windows-1251`, `shift_jis`, …."""
    if not _NAME.fullmatch(name):
        return False
    try:
        found = codecs.lookup(name)
        # four bytes, which charsets of one, two and four bytes a character can read
        bytes(4).decode(name)
    except (LookupError, ValueError):
        return False
    return found.name.replace("-", "_") not in _UNFIT


def known_charset(name: str) -> str:
    """Return `name`; ValueError when it is no charset."""
    if not is_charset(name):
        raise ValueError(f"{name[:40]!r} is no charset; write one like utf-8, cp1252, windows-1251 or shift_jis")
    return name


Charset = Annotated[str, StringConstraints(max_length=40), AfterValidator(known_charset)]


def decode(data: bytes, name: str, charset: str | None = None) -> str:
    """Return the text of a file, without a byte order mark, its lines ended by a line feed.

    A byte order mark says what it is, and so does text that is UTF-8 beyond doubt; `charset` says it of other text.
    BadInput where it is none of these, with the likely charset.
    """
    return _with_line_feeds(_decode_text(data, name, charset))


def _decode_text(data: bytes, name: str, charset: str | None) -> str:
    for mark, marked in _BOMS:
        if data.startswith(mark):
            return _strict(data[len(mark) :], marked, name)
    if charset is not None and (data.isascii() or not _is_utf8(data)):
        return _strict(data, charset, name)
    if _is_utf8(data) and not _is_wide(data):
        return data.decode()
    guess = likely_charset(data)
    advice = f'; it looks like {guess}: if it is, say "charset": "{guess}"' if guess else '; say which "charset" it is'
    raise BadInput(f"{name} is not UTF-8{advice}")


def _strict(data: bytes, charset: str, name: str) -> str:
    try:
        return data.decode(charset)
    except UnicodeError as error:
        guess = None if is_utf(charset) else likely_charset(data)
        advice = f"; it looks like {guess}" if guess else ""
        raise BadInput(f"{name} is not {charset}{advice}") from error


def is_utf(charset: str) -> bool:
    """Return whether a charset is one of Unicode's own."""
    return codecs.lookup(charset).name.startswith("utf")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_wide(data: bytes) -> bool:
    """Return whether text has so many zeros that a character must be two bytes or four."""
    return data.count(0) > len(data) // 5


def _with_line_feeds(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def likely_charset(data: bytes) -> str | None:
    """Return the charset that text most probably is in, None where nothing fits."""
    import charset_normalizer  # noqa: PLC0415  # it loads much, and few jobs need it

    sample = data[:_LOOKED_AT]
    among = ["utf_16_le", "utf_16_be"] if _is_wide(sample) else _LIKELY
    found = list(charset_normalizer.from_bytes(sample, cp_isolation=among, enable_fallback=False))
    if not found:
        return "cp1252" if not _is_wide(sample) and _reads(sample, "cp1252") else None
    best = min(found, key=lambda match: (match.chaos, -match.coherence))
    alike = [
        match for match in found if match.chaos <= best.chaos + _ALIKE and match.coherence >= best.coherence - _ALIKE
    ]
    fitting = {name for match in alike for name in match.could_be_from_charset}
    return next((name for name in among if name in fitting), best.encoding)


def _reads(data: bytes, charset: str) -> bool:
    try:
        data.decode(charset)
    except UnicodeError:
        return False
    return True


def transcode_to_utf8(data: bytes, name: str, charset: str | None) -> bytes | None:
    """Return a text file in UTF-8, None where it is that already; BadInput as `decode`."""
    is_plain = not data.startswith(tuple(mark for mark, _ in _BOMS)) and _is_utf8(data) and not _is_wide(data)
    if is_plain and (charset is None or not data.isascii() or data.decode(charset, "replace") == data.decode()):
        return None
    return decode(data, name, charset).encode()


def declared_charset(data: bytes) -> str | None:
    """Return the charset that an XML declaration names at the head of `data`, None without one that is known."""
    match = _DECLARED.match(data[:512])
    name = match[1].decode() if match else ""
    return name if name and is_charset(name) else None


def with_declaration(text: bytes) -> bytes:
    """Return an XML document in UTF-8 with a declaration that says so, instead of the one that it had."""
    return b'<?xml version="1.0" encoding="UTF-8"?>' + re.sub(rb"^\s*<\?xml[^>]{0,200}>", b"", text, count=1)
