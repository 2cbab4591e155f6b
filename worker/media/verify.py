"""The verification of outputs against what was promised; one place for every task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from worker.core.command import Command, Pipeline
from worker.core.errors import VerificationFailed
from worker.media.failure import damage
from worker.media.ffmpeg.formats import GUARDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from worker.core.command import Exit
    from worker.core.media_info import MediaInfo

# A muxer rounds, an encoder primes, a last frame has no length: none of it comes near a second.
DURATION_SLACK_SECONDS: Final = 1.0
DURATION_SLACK_SHARE: Final = 0.005
Verify = Literal["probe", "decode"]
"""The ways to prove an output: by its own headers, or by decoding all of it too."""
Damage = Literal["refuse", "accept"]
"""The ways to treat a source whose decoder complains of damage: no output, or one with a warning that says what."""
DAMAGE_MEANING: Final = (
    "What becomes of a source that is damaged within: `refuse`, or `accept`, which conceals what is lost and says in"
    " the record what was damaged. A source that is cut short is refused all the same."
)
_JUDGED: Final = frozenset({"video", "audio", "subtitle"})


@dataclass(frozen=True, slots=True)
class ExpectedStream:
    """A stream that was promised; `codec` None means any."""

    kind: str
    codec: str | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """A promise. None stands for what cannot be known and is not judged.

    `streams` in output order; `at_least` seconds, and `at_most`, both before slack; `frames` of the first
    video that the tool said it wrote.
    """

    streams: tuple[ExpectedStream, ...] | None = None
    at_least: float | None = None
    at_most: float | None = None
    frames: int | None = None


def check(info: MediaInfo, expected: Expected, name: str, *, also: Sequence[str] = ()) -> None:
    """Return when `info` keeps every promise; VerificationFailed names each that it breaks.

    `also` are faults that a module found in what only it knows (names of tracks).
    """
    faults = [*also, *_stream_faults(info, expected), *_duration_faults(info, expected)]
    if expected.frames is not None and expected.frames <= 0 and info.of_kind("video"):
        faults.append("not one frame was written")
    if info.bytes <= 0:
        faults.append("it is empty")
    if faults:
        raise VerificationFailed(f"{name} is not what was promised: {'; '.join(faults)}")


def _stream_faults(info: MediaInfo, expected: Expected) -> list[str]:
    if expected.streams is None:
        return []
    # a muxer may add data streams (timecode), which nobody promised and which harm nobody
    found = [stream for stream in info.streams if stream.kind in _JUDGED]
    wanted = [stream for stream in expected.streams if stream.kind in _JUDGED]
    if [stream.kind for stream in found] != [stream.kind for stream in wanted]:
        return [f"it has {_kind_list([s.kind for s in found])} instead of {_kind_list([s.kind for s in wanted])}"]
    return [
        f"stream {index} is {got.codec} instead of {want.codec}"
        for index, (got, want) in enumerate(zip(found, wanted, strict=True))
        if want.codec is not None and got.codec != want.codec
    ]


def _duration_faults(info: MediaInfo, expected: Expected) -> list[str]:
    lengths = [info.duration, *(stream.duration for stream in info.streams)]
    length = max((item for item in lengths if item is not None), default=None)
    if length is None:
        return ["it has no duration"] if expected.at_least else []
    for bound, sign in ((expected.at_least, 1), (expected.at_most, -1)):
        if bound is not None and (bound - length) * sign > DURATION_SLACK_SECONDS + bound * DURATION_SLACK_SHARE:
            return [f"it lasts {length:.2f} s instead of {bound:.2f} s"]
    return []


def _kind_list(kinds: list[str]) -> str:
    return ", ".join(kinds) or "no stream"


def decode_command(ffmpeg: str, path: Path) -> Pipeline:
    """Return the command that decodes a whole file and discards the result; it prints its progress as lines."""
    head = (ffmpeg, "-nostdin", "-hide_banner", "-v", "warning", "-progress", "pipe:1", "-stats_period", "0.5")
    maps = ("-map", "0:v?", "-map", "0:a?", "-map", "0:s?", "-c:s", "copy", "-f", "null", "-")
    return Pipeline((Command((*head, *GUARDS, "-i", f"file:{path}", *maps), {"SVT_LOG": "1"}),))


def first_fault_command(ffmpeg: str, path: Path) -> Pipeline:
    """Return the decoding of pictures and sounds up to their first fault, where it ends with another code than 0."""
    head = (ffmpeg, "-nostdin", "-hide_banner", "-v", "warning", "-xerror", *GUARDS, "-i", f"file:{path}")
    return Pipeline((Command((*head, "-map", "0:V?", "-map", "0:a?", "-f", "null", "-")),), label="first fault")


def check_decoded(exit_: Exit, name: str) -> None:
    """Return when the decoding went through without a complaint of damage; VerificationFailed with it otherwise."""
    complaint = damage(exit_.complaint)
    if not exit_.ok or complaint:
        raise VerificationFailed(f"{name} does not decode: {complaint or exit_}")
