"""SubStation Alpha (ASS and SSA) as cues: what WebVTT can say of styles and positions, and no drawings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from worker.media.subtitles.markup import Look, alignment_settings, cue_text, position_settings, style_rules
from worker.media.webvtt import Cue, CueError, TimedText, limited_cues, limited_text, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_CLOCK: Final = re.compile(r"^(\d{1,4}):(\d{1,2}):(\d{1,2})(?:[.:](\d{1,3}))?$")
_STYLE_FIELDS: Final = {
    "v4+": "Name,Fontname,Fontsize,PrimaryColour,SecondaryColour,OutlineColour,BackColour,Bold,Italic,Underline,"
    "StrikeOut,ScaleX,ScaleY,Spacing,Angle,BorderStyle,Outline,Shadow,Alignment,MarginL,MarginR,MarginV,Encoding",
    "v4": "Name,Fontname,Fontsize,PrimaryColour,SecondaryColour,TertiaryColour,BackColour,Bold,Italic,BorderStyle,"
    "Outline,Shadow,Alignment,MarginL,MarginR,MarginV,AlphaLevel,Encoding",
}
_EVENT_FIELDS: Final = "Layer,Start,End,Style,Name,MarginL,MarginR,MarginV,Effect,Text"
_LEGACY: Final = {1: 1, 2: 2, 3: 3, 5: 7, 6: 8, 7: 9, 9: 4, 10: 5, 11: 6}
r"""SSA's alignments, also in `\a`, as those of a numeric keypad."""
_SWITCH: Final = re.compile(r"^([bius])(\d{0,4})$")
_COLOUR: Final = re.compile(r"^1?c(?:&H([0-9A-Fa-f]{1,8})&?)?$")
_ALIGNMENT: Final = re.compile(r"^(an?)(\d{1,2})$")
_DRAWING: Final = re.compile(r"^p(\d{1,2})$")
_ALPHA: Final = re.compile(r"^alpha&H([0-9A-Fa-f]{1,2})&?$")
_NUMBER: Final = r"[ \t]*(-?\d{1,6}(?:\.\d{1,6})?)[ \t]*"
_PLACE: Final = re.compile(rf"^(?:pos|move)\({_NUMBER},{_NUMBER}[,)]")
_BLOCK: Final = re.compile(r"(?<!\\)\{([^}]*)\}")
r"""A block of override tags; `\{` is a brace that libass shows."""
_WHITE: Final = "ffffff"
_BOLD_WEIGHT: Final = 600
MAX_STYLES: Final = 10_000
"""The most styles of a script; a usual one has up to two hundred."""


@dataclass(frozen=True, slots=True)
class _Style:
    """A named style: how its text looks and where it is."""

    look: Look = field(default_factory=Look)
    alignment: int = 2


@dataclass(slots=True)
class _Reader:
    """A line of dialogue while it is read; `place` is where its anchor is put, in the script's own units."""

    styles: Mapping[str, _Style]
    style: _Style
    look: Look
    alignment: int
    drawing: bool = False
    hidden: bool = False
    place: tuple[float, float] | None = None

    def apply(self, tag: str) -> None:
        """Take one override tag, written without its backslash; tags that WebVTT has nothing for change nothing."""
        if match := _SWITCH.match(tag):
            self._switch(match[1], match[2])
        elif match := _COLOUR.match(tag):
            colour = _bgr(match[1]) if match[1] else self.style.look.colour
            self.look = replace(self.look, colour=colour)
        elif match := _ALIGNMENT.match(tag):
            number = int(match[2])
            self.alignment = (_LEGACY.get(number, 2) if match[1] == "a" else number) if 0 < number < 12 else 2  # noqa: PLR2004
            self.alignment = min(9, self.alignment)
        elif match := _DRAWING.match(tag):
            self.drawing = int(match[1]) > 0
        elif match := _ALPHA.match(tag):
            self.hidden = match[1].lower() == "ff"
        elif match := _PLACE.match(tag):
            self.place = (float(match[1]), float(match[2]))
        elif tag.startswith("r"):
            self.look, self.hidden = self.styles.get(tag[1:].strip(), self.style).look, False

    def _switch(self, letter: str, value: str) -> None:
        base, number = self.style.look, int(value or 0)
        on = number == 1 or (letter == "b" and number >= _BOLD_WEIGHT)
        match letter:
            case "b":
                self.look = replace(self.look, bold=on if value else base.bold)
            case "i":
                self.look = replace(self.look, italic=on if value else base.italic)
            case "u":
                self.look = replace(self.look, underline=on if value else base.underline)
            case _:
                self.look = replace(self.look, strike=on if value else base.strike)


def parse_substation(text: str) -> TimedText:
    """Return the cues in a script; comments, drawings, and lines that are nothing else are left out."""
    width, height = 384.0, 288.0
    styles: dict[str, _Style] = {}
    cues: list[Cue] = []
    looks: set[Look] = set()
    section, fields, unread = "", _split(_EVENT_FIELDS), 0
    for line in lines_of(text):
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if line.lstrip().startswith("["):
            section = line.strip().strip("[]").lower()
            version = "v4+" if "+" in section else "v4"
            fields = _split(_STYLE_FIELDS[version] if "styles" in section else _EVENT_FIELDS)
        elif not colon:
            continue
        elif name == "format":
            fields = _split(value)
        elif name in {"playresx", "playresy"}:
            size = _positive(value)
            width, height = (size or width, height) if name.endswith("x") else (width, size or height)
        elif name == "style" and "styles" in section:
            style = dict(zip(fields, (part.strip() for part in value.split(",")), strict=False))
            styles[style.get("name", "").lstrip("*")] = _style(style, legacy="+" not in section)
            if len(styles) > MAX_STYLES:
                raise CueError(f"more than {MAX_STYLES} styles")
        elif name == "dialogue" and section == "events":
            event = dict(zip(fields, value.split(",", max(0, len(fields) - 1)), strict=False))
            if cue := _cue(event, styles, (width, height), looks):
                cues.append(cue)
            else:
                unread += _lacks_times(event)
    return TimedText.of(limited_cues(cues), style_rules(looks), unread)


def _split(fields: str) -> list[str]:
    return [field.strip().lower() for field in fields.split(",")]


def _style(fields: Mapping[str, str], *, legacy: bool) -> _Style:
    number = _integer(fields.get("alignment", ""))
    alignment = _LEGACY.get(number, 2) if legacy else number
    colour = fields.get("primarycolour", "")
    base = _bgr(colour[2:].rstrip("&")) if colour.upper().startswith("&H") else _bgr(f"{_integer(colour):x}")
    look = Look(
        bold=_integer(fields.get("bold", "")) != 0,
        italic=_integer(fields.get("italic", "")) != 0,
        underline=_integer(fields.get("underline", "")) != 0,
        strike=_integer(fields.get("strikeout", "")) != 0,
        colour=base if colour and base != _WHITE else None,
    )
    return _Style(look, alignment if 1 <= alignment <= 9 else 2)  # noqa: PLR2004  # a numeric keypad


def _lacks_times(event: Mapping[str, str]) -> bool:
    """Return whether a line of dialogue has text, and times that cannot be read or end before they begin."""
    start, end = _seconds(event.get("start", "")), _seconds(event.get("end", ""))
    return bool(event.get("text", "").strip()) and (start is None or end is None or end < start)


def _cue(
    event: Mapping[str, str], styles: Mapping[str, _Style], size: tuple[float, float], looks: set[Look]
) -> Cue | None:
    start, end = _seconds(event.get("start", "")), _seconds(event.get("end", ""))
    if start is None or end is None or end <= start:
        return None
    style = styles.get(event.get("style", "").strip().lstrip("*"), styles.get("Default", _Style()))
    reader = _Reader(styles, style, style.look, style.alignment)
    runs = list(_runs(limited_text(event.get("text", "")), reader))
    text = cue_text(runs)
    if not text:
        return None
    looks |= {look for _, look in runs}
    if reader.place is None:
        return Cue(start, end, text, alignment_settings(reader.alignment))
    across, down = (100 * part / whole for part, whole in zip(reader.place, size, strict=True))
    return Cue(start, end, text, position_settings(reader.alignment, across, down, text.count("\n") + 1))


def _runs(text: str, reader: _Reader) -> Iterator[tuple[str, Look]]:
    """Yield the runs of a dialogue's text, drawings left out, and what is transparent and stays so."""
    last, fades = 0, "\\t(" in text
    # a brace that never closes is shown: beyond the last that closes none is looked for, each time to the end
    for block in _BLOCK.finditer(text, 0, text.rfind("}") + 1):
        if last < block.start() and not reader.drawing and (fades or not reader.hidden):
            yield _plain(text[last : block.start()]), reader.look
        for tag in _tags(block[1]):
            reader.apply(tag)
        last = block.end()
    if last < len(text) and not reader.drawing and (fades or not reader.hidden):
        yield _plain(text[last:]), reader.look


def _tags(block: str) -> Sequence[str]:
    r"""Return the override tags of a block; what `\t(…)` animates is no look that a cue keeps."""
    tags: list[str] = []
    depth = 0
    for part in block.split("\\")[1:]:
        if depth == 0 and not part.startswith("t("):
            tags.append(part.strip())
            continue
        depth = max(0, depth + part.count("(") - part.count(")"))
    return tags


def _plain(text: str) -> str:
    text = text.replace("\\{", "{").replace("\\}", "}")
    return text.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", "\u00a0")


def _bgr(digits: str) -> str:
    """Return `rrggbb` of a colour that SubStation writes as [alpha,] blue, green, red."""
    digits = digits[-6:].rjust(6, "0").lower()
    return digits[4:6] + digits[2:4] + digits[0:2] if re.fullmatch("[0-9a-f]{6}", digits) else _WHITE


def _seconds(text: str) -> float | None:
    match = _CLOCK.match(text.strip())
    if match is None:
        return None
    return int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3]) + float(f"0.{match[4] or 0}")


def _integer(text: str) -> int:
    return int(text) if re.fullmatch(r"-?\d{1,10}", text.strip(), re.ASCII) else 0


def _positive(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[ \t]*[1-9]\d{0,5}[ \t]*", text, re.ASCII) else None
