"""SubRip (SRT) as cues: its tags, the positions that players read in it, and everything else as the text that it is."""

from __future__ import annotations

import html
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from worker.media.subtitles.markup import Look, alignment_settings, cue_text, position_settings, style_rules
from worker.media.webvtt import Cue, TimedText, limited_cues, limited_text, lines_of, seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_STAMP: Final = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[,.:](\d{1,3}))?"
_TIMES: Final = re.compile(rf"^[ \t]*(-?){_STAMP}[ \t]*-{{1,2}}>[ \t]*(-?){_STAMP}(?:[ \t]|$)")
_OF_TIMES: Final = re.compile(r"[-\d:.,; \t]*")
_DIGIT: Final = re.compile(r"\d")
_ARROWS: Final = (">", "\u2192")
_TYPED: Final = str.maketrans(
    {"\uff1a": ":", "\uff0c": ",", "\uff0e": ".", "\u2013": "-", "\u2014": "-", "\u2192": "->"}
)
"""Signs that word processors and input methods write between times, and for the arrow."""
_SPACED: Final = re.compile(r"(?<=\d)[ \t]*([:,.])[ \t]*(?=\d)")
"""Spaces around them, which translation programs add."""
_TAG: Final = re.compile(
    r"<(?P<end>/?)(?P<name>b|i|u|s|strong|em)[ \t]*>"
    r"|<font(?P<font>[ \t][^<>]*)?>|(?P<nofont></font[ \t]*>)"
    r"|\{\\(?P<override>[^{}]*)\}"
    r"|&(?P<entity>amp|lt|gt|nbsp|quot|apos|lrm|rlm|#\d{1,7}|#x[0-9a-f]{1,6});",
    re.IGNORECASE,
)
_COLOUR: Final = re.compile(r"color[ \t]*=[ \t]*[\"']?[ \t]*(#?[0-9A-Za-z]{1,30})", re.IGNORECASE)
_HEX: Final = re.compile(r"^#?([0-9a-f]{6})(?:[0-9a-f]{2})?$")
_WORDS: Final = {
    "white": "ffffff", "lime": "00ff00", "cyan": "00ffff", "aqua": "00ffff", "red": "ff0000", "yellow": "ffff00",
    "magenta": "ff00ff", "fuchsia": "ff00ff", "blue": "0000ff", "black": "000000", "green": "008000",
    "gray": "808080", "grey": "808080", "silver": "c0c0c0", "orange": "ffa500", "purple": "800080",
    "maroon": "800000", "navy": "000080", "teal": "008080", "olive": "808000", "pink": "ffc0cb", "gold": "ffd700",
}  # fmt: skip
_MARKED: Final = re.compile("[<&{]")
_PLAIN: Final = Look()
_KINDS: Final = {"b": "b", "strong": "b", "i": "i", "em": "i", "u": "u", "s": "s"}
_ALIGNED: Final = re.compile(r"\\?an([1-9])")
_POSITION: Final = re.compile(r"pos\([ \t]*(-?\d{1,5}(?:\.\d{1,4})?)[ \t]*,[ \t]*(-?\d{1,5}(?:\.\d{1,4})?)[ \t]*\)")
_WIDTH, _HEIGHT = 384.0, 288.0
"""The picture that positions in SubRip mean: SubStation's own size where none is given."""


def parse_subrip(text: str) -> TimedText:
    """Return the cues in `text`; a blank line inside of a cue does not end it.

    One that begins before the film is shown from its begin.
    """
    lines = lines_of(text)
    starts = list(limited_cues((index, times) for index, line in enumerate(lines) if (times := _times(line))))
    ends = [index for index, _ in starts[1:]] + [len(lines)]
    cues: list[Cue] = []
    looks: set[Look] = set()
    unread = 0
    for (index, (begin, until)), end in zip(starts, ends, strict=False):
        body = lines[index + 1 : end]
        if end < len(lines) and body and body[-1].strip().isdigit():
            body.pop()
        runs, settings = _parse_cue_text(limited_text("\n".join(body).strip("\n")))
        shown = cue_text(runs)
        unread += bool(shown) and not until >= begin
        if shown and until > max(0.0, begin):
            looks |= {look for _, look in runs}
            cues.append(Cue(max(0.0, begin), until, shown, settings))
    return TimedText.of(cues, style_rules(looks), unread)


def _times(line: str) -> tuple[float, float] | None:
    """Return begin and end of a cue, not numbers where a line means times that cannot be read; None for other lines."""
    if not any(arrow in line for arrow in _ARROWS):
        return None
    plain = _SPACED.sub(r"\1", line.translate(_TYPED))
    if match := _TIMES.match(plain):
        begin, until = seconds_of(match.groups()[1:5]), seconds_of(match.groups()[6:])
        return -begin if match[1] else begin, -until if match[6] else until
    return (math.nan, math.nan) if _means_times(plain) else None


def _means_times(line: str) -> bool:
    """Return whether a line is two times, with an arrow between, and nothing else, though none that can be read.

    Each side is looked at on its own: one pattern for both takes the cube of a line's length.
    """
    begin, arrow, until = line.partition("->")
    return bool(arrow) and all(_OF_TIMES.fullmatch(side) and _DIGIT.search(side) for side in (begin, until))


def _parse_cue_text(text: str) -> tuple[list[tuple[str, Look]], str]:
    """Return the runs of a cue's text and its settings."""
    if not _MARKED.search(text):
        return [(text, _PLAIN)], ""
    alignment = _ALIGNED.search(text)
    position = _POSITION.search(text) if "{\\" in text else None
    runs = list(_runs(text))
    number = int(alignment[1]) if alignment and "{\\" in text else 2
    if position is None:
        return runs, alignment_settings(number)
    lines = cue_text(runs).count("\n") + 1
    across, down = float(position[1]) / _WIDTH * 100, float(position[2]) / _HEIGHT * 100
    return runs, position_settings(number, across, down, lines)


def _runs(text: str) -> Iterator[tuple[str, Look]]:
    depth = dict.fromkeys("bius", 0)
    colours: list[str | None] = []
    look = Look()
    last = 0
    for match in _TAG.finditer(text):
        yield text[last : match.start()], look
        last = match.end()
        if match["entity"]:
            yield _entity(match[0]), look
        elif match["name"]:
            kind = _KINDS[match["name"].lower()]
            depth[kind] = max(0, depth[kind] + (-1 if match["end"] else 1))
        elif match["nofont"]:
            del colours[-1:]
        elif match["override"] is not None:
            for tag in match["override"].split("\\"):
                if len(tag) == 2 and tag[0] in depth and tag[1] in "01":  # noqa: PLR2004  # {\i1}
                    depth[tag[0]] = int(tag[1])
        else:
            colours.append(_colour(match["font"] or "") or (colours[-1] if colours else None))
        look = replace(
            look,
            bold=depth["b"] > 0,
            italic=depth["i"] > 0,
            underline=depth["u"] > 0,
            strike=depth["s"] > 0,
            colour=colours[-1] if colours else None,
        )
    yield text[last:], look


def _entity(text: str) -> str:
    """Return the character of a reference; a line end or a control character stays as it is written."""
    character = html.unescape(text)
    return character if character.isprintable() or character in "\u00a0\u200e\u200f" else text


def _colour(attributes: str) -> str | None:
    match = _COLOUR.search(attributes)
    if match is None:
        return None
    name = match[1].lower()
    if known := _WORDS.get(name):
        return known
    found = _HEX.match(name)
    return found[1] if found else None
