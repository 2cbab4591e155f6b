"""The markup of WebVTT cues: escaped text, its styles as tags and classes, its place as settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAMED_COLOURS: Final = {
    "ffffff": "white", "00ff00": "lime", "00ffff": "cyan", "ff0000": "red", "ffff00": "yellow", "ff00ff": "magenta",
    "0000ff": "blue", "000000": "black",
}  # fmt: skip
"""The colours that every player knows as classes (WebVTT 5.1, default text colors)."""
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# NUL and the other control characters are no text in WebVTT; tabs and line ends are
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_BLANK_LINES: Final = re.compile(r"\n(?:[ \t]*\n)+")
_LINE_PERCENT: Final = 6
"""The height of a line in percent of the picture's: 5 of text (WebVTT 7.1) and the space between lines."""


@dataclass(frozen=True, slots=True)
class Look:
    """The style of a run of text; `colour` is `rrggbb`, None for the player's own."""

    bold: bool = False
    italic: bool = False
    underline: bool = False
    strike: bool = False
    colour: str | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the classes of WebVTT that say what has no tag."""
        colour = self.colour and _NAMED_COLOURS.get(self.colour, f"colour-{self.colour}")
        return tuple(filter(None, (colour, "strike" if self.strike else None)))


def escape(text: str) -> str:
    """Return `text` as WebVTT shows it: `<`, `>` and `&` as references, without control characters."""
    return _CONTROL.sub("", text).translate(_ESCAPES)


def cue_text(runs: Iterable[tuple[str, Look]]) -> str:
    """Return the text of a cue from runs of plain text; blank lines, which would end the cue, are left out."""
    joined: list[tuple[list[str], Look]] = []
    for text, look in runs:
        if joined and joined[-1][1] == look:
            joined[-1][0].append(text)
        elif text:
            joined.append(([text], look))
    text = "".join(_tagged_text(_BLANK_LINES.sub("\n", "".join(parts)), look) for parts, look in joined)
    text = _BLANK_LINES.sub("\n", text).strip("\n\t ")
    # a form feed or a no-break space alone is no cue: a player would show an empty box
    return text if text.strip() else ""


def _tagged_text(text: str, look: Look) -> str:
    if not text.strip():
        return text
    inner = text.strip("\n")
    before, after = "\n" * text.startswith("\n"), "\n" * text.endswith("\n")
    tags = [tag for tag, on in (("b", look.bold), ("i", look.italic), ("u", look.underline)) if on]
    opening = [f"c.{'.'.join(look.classes)}"] * bool(look.classes) + tags
    closing = [tag.partition(".")[0] for tag in reversed(opening)]
    return (
        before
        + "".join(f"<{tag}>" for tag in opening)
        + escape(inner)
        + "".join(f"</{tag}>" for tag in closing)
        + after
    )


def style_rules(looks: Iterable[Look]) -> tuple[str, ...]:
    """Return the STYLE block for the classes of `looks` that players do not know by themselves; none without such."""
    rules: dict[str, str] = {}
    for look in looks:
        if look.strike:
            rules["strike"] = "text-decoration: line-through"
        if look.colour and look.colour not in _NAMED_COLOURS:
            rules[f"colour-{look.colour}"] = f"color: #{look.colour}"
    lines = [f"::cue(.{name}) {{ {rule} }}" for name, rule in sorted(rules.items())]
    return ("\n".join(["STYLE", *lines]),) if lines else ()


def alignment_settings(alignment: int) -> str:
    """Return the settings for an alignment as on a numeric keypad: 2, at the bottom, needs none."""
    line = ("", "line:50%", "line:0")[(alignment - 1) // 3]
    side = ("align:left", "", "align:right")[(alignment - 1) % 3]
    return f"{line} {side}".strip()


def position_settings(alignment: int, across: float, down: float, lines: int) -> str:
    """Return the settings for a text whose anchor is `across` and `down` percent of the picture away.

    The anchor is what `alignment` says. A box of `lines` lines is placed by its top edge, which every player reads:
    `line:90%,end` makes Chromium leave the line out.
    """
    above = (1.0, 0.5, 0.0)[(alignment - 1) // 3] * lines * _LINE_PERCENT
    line = min(100.0, max(0.0, down - above))
    side = ("align:left", "align:center", "align:right")[(alignment - 1) % 3]
    return f"line:{_percent(line)} position:{_percent(min(100.0, max(0.0, across)))} {side}"


def _percent(value: float) -> str:
    return f"{round(value, 1):g}%"
