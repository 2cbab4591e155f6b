"""WebVTT: cues from text, and the segments of a subtitle rendition with their place on the film's clock."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

T = TypeVar("T")

MAX_SEGMENT_BYTES: Final = 32 << 20
"""The most bytes that the segments of one presentation's subtitles have: a cue is in each where it is seen."""
MAX_BLOCK_CHARACTERS: Final = 8192
"""The most characters that styles and regions have: they are repeated in every segment."""
MAX_CUES: Final = 50_000
"""The most cues of one subtitle; a film has 2,000, a script whose signs move picture by picture 20,000."""
MAX_LINES: Final = 500_000
"""The most lines of one subtitle: each takes memory of its own while it is read."""
MAX_CUE_CHARACTERS: Final = 1 << 18
"""The most characters of one cue, its tags counted: a cue has a hundred, a drawing in a script ten thousands."""

_STAMP: Final = r"(?:(\d{1,4}):)?([0-5]?\d):([0-5]?\d)\.(\d{1,3})"
_TIMES: Final = re.compile(rf"^[ \t]*{_STAMP}[ \t]*-->[ \t]*{_STAMP}(?:[ \t]+(.*))?$")
_SETTING: Final = re.compile(r"^(vertical|line|position|size|align|region):[\w.%,+-]{1,60}$")
_BLOCK: Final = re.compile(r"^(STYLE|REGION)[ \t]*$")
_COMMENT: Final = re.compile(r"NOTE(?:[ \t]|$)")
_FETCHES: Final = re.compile(r"url\s*\(|@import|image-set|\\", re.IGNORECASE)
_MARKUP: Final = re.compile(
    r"(?P<kept></?(?:c|i|b|u|ruby|rt|v|lang)(?:[.\t ][^<>]*)?>|<(?:\d{1,4}:)?\d\d:\d\d\.\d{3}>"
    r"|&(?:amp|lt|gt|nbsp|lrm|rlm|quot|apos|#\d{1,7}|#x[0-9A-Fa-f]{1,6});)"
    r"|(?P<dropped></?[A-Za-z][^<>]*>)|(?P<bare>[<>&])"
)
_REFERENCES: Final = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


class CueError(ValueError):
    """A text is no WebVTT, or becomes more than a presentation may hold."""


@dataclass(frozen=True, slots=True)
class Cue:
    """A cue, shown from `start` to `end`, in seconds; `settings` place it."""

    start: float
    end: float
    text: str
    settings: str = ""


@dataclass(frozen=True, slots=True)
class TimedText:
    """The cues of a subtitle by their start, and the `blocks` (STYLE, REGION) that their styles and settings need.

    `unread` is the number of cues that are in none of them: their times are no times, or end before they begin.
    """

    cues: tuple[Cue, ...]
    blocks: tuple[str, ...] = ()
    unread: int = 0

    @classmethod
    def of(cls, cues: Iterable[Cue], blocks: tuple[str, ...] = (), unread: int = 0) -> TimedText:
        """Return `cues` in order; one that is there twice, as shadows of a SubStation script are, is shown once."""
        return cls(tuple(sorted(dict.fromkeys(cues), key=lambda cue: (cue.start, cue.end))), blocks, unread)

    @property
    def has_too_long_blocks(self) -> bool:
        """Return whether its styles and regions are more than every segment may repeat."""
        return sum(map(len, self.blocks)) > MAX_BLOCK_CHARACTERS


def lines_of(text: str) -> list[str]:
    """Return the lines of a subtitle; CueError where they are too many."""
    if text.count("\n") > MAX_LINES:
        raise CueError(f"more than {MAX_LINES} lines")
    return text.split("\n")


def limited_cues(found: Iterable[T]) -> Iterator[T]:
    """Yield what becomes a cue, shadows too; CueError where they are more than a subtitle can have."""
    for number, one in enumerate(found):
        if number >= 2 * MAX_CUES:
            raise CueError(f"more than {2 * MAX_CUES} cues")
        yield one


def limited_text(text: str) -> str:
    """Return the text of one cue; CueError where it is too long, for each of its tags takes memory."""
    if len(text) > MAX_CUE_CHARACTERS:
        raise CueError(f"one cue has {len(text)} characters, and at most {MAX_CUE_CHARACTERS} are read")
    return text


def parse_webvtt(text: str) -> TimedText:
    """Return the cues in `text` with their settings, styles and regions; CueError when it is no WebVTT.

    A style that would fetch something is left out.
    """
    text = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not re.match(r"WEBVTT(?:[ \t\n]|$)", text):
        raise CueError("does not begin with WEBVTT")
    cues: list[Cue] = []
    blocks: list[str] = []
    unread = 0
    for block in _blocks(lines_of(text)[1:]):
        if _BLOCK.match(block[0]):
            style = "\n".join([block[0].strip(), *block[1:]])
            blocks += [] if _FETCHES.search(style) else [style]
        elif (cue := _cue(block)) is not None:
            cues.append(cue)
        else:
            unread += _lacks_times(block)
    return TimedText.of(limited_cues(cues), tuple(blocks), unread)


def _blocks(lines: Sequence[str]) -> Iterable[list[str]]:
    """Yield runs of lines without a blank one; a line with times begins a run of its own (WebVTT 6.1)."""
    block: list[str] = []
    for line in lines:
        is_times = "-->" in line
        if block and (not line or (is_times and (len(block) > 1 or "-->" in block[0]))):
            yield block
            block = []
        if line:
            block.append(line)
    if block:
        yield block


def _cue(block: Sequence[str]) -> Cue | None:
    for index, line in enumerate(block[:2]):
        if match := _TIMES.match(line):
            start, end = seconds_of(match.groups()[:4]), seconds_of(match.groups()[4:8])
            body = _MARKUP.sub(_escaped_match, "\n".join(block[index + 1 :]).replace("\x00", "\ufffd"))
            settings = " ".join(item for item in (match[9] or "").split() if _SETTING.match(item))
            return Cue(start, end, body, settings) if end > start and body.strip() else None
    return None


def _lacks_times(block: Sequence[str]) -> bool:
    """Return whether a block would be a cue, if its times could be read or did not end before they begin."""
    if _COMMENT.match(block[0]):
        return False
    for index, line in enumerate(block[:2]):
        if match := _TIMES.match(line):
            return seconds_of(match.groups()[4:8]) < seconds_of(match.groups()[:4])
        if "-->" in line:
            return len(block) > index + 1
    return False


def _escaped_match(match: re.Match[str]) -> str:
    """Return what a player should read: a tag or reference of WebVTT, no other tag, and a bare sign as a reference."""
    return match["kept"] or _REFERENCES.get(match["bare"] or "", "")


def seconds_of(parts: Sequence[str | None]) -> float:
    """Return the seconds of hours, minutes, seconds and the digits after the point, each None for 0."""
    hours, minutes, seconds = (int(part or 0) for part in parts[:3])
    return hours * 3600 + minutes * 60 + seconds + int((parts[3] or "0").ljust(3, "0")) / 1000


def stamp(seconds: float) -> str:
    """Return `00:01:02.500`."""
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02d}:{whole // 60_000 % 60:02d}:{whole // 1000 % 60:02d}.{whole % 1000:03d}"


def render_cues(cues: Iterable[Cue], *, first_tick: int | None = None, blocks: Sequence[str] = ()) -> str:
    """Return the text of a WebVTT file.

    `first_tick` is the film's start on the 90 kHz clock of its segments, for the X-TIMESTAMP-MAP that HLS wants
    (RFC 8216 3.5); without it the text stands for itself.
    """
    head = "WEBVTT" if first_tick is None else f"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{first_tick},LOCAL:00:00:00.000"
    shown = [f"{stamp(cue.start)} --> {stamp(cue.end)} {cue.settings}".rstrip() + f"\n{cue.text}" for cue in cues]
    return "\n\n".join([head, *blocks, *shown]) + "\n"


def segment_cues(cues: Iterable[Cue], durations: Sequence[float]) -> tuple[tuple[Cue, ...], ...]:
    """Return the cues of each segment of `durations`; one that crosses a border is in both, whole.

    CueError where cues that are seen in many segments come to more than `MAX_SEGMENT_BYTES`.
    """
    ends = list(accumulate(durations))
    starts = [0.0, *ends[:-1]]
    parts: list[list[Cue]] = [[] for _ in durations]
    characters = 0
    for cue in cues:
        last = bisect_right(starts, cue.end) - 1
        if last >= 0 and starts[last] >= cue.end:
            last -= 1
        first = bisect_right(ends, cue.start)
        characters += max(0, last - first + 1) * (len(cue.text) + len(cue.settings) + len(stamp(0)) * 2)
        if characters > MAX_SEGMENT_BYTES:
            message = "so many cues are seen in so many segments that they come to more than"
            raise CueError(f"{message} {MAX_SEGMENT_BYTES >> 20} MiB")
        for index in range(first, last + 1):
            parts[index].append(cue)
    return tuple(map(tuple, parts))
