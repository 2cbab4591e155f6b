"""The classification of failed runs: the messages and exit of ffmpeg and similar tools become our errors."""

from __future__ import annotations

import re
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from worker.core.command import Reason
from worker.core.errors import (
    BadInput,
    DiskFull,
    InvalidJob,
    LeveretError,
    Problem,
    StorageUnavailable,
    ToolFailed,
    ToolOutOfMemory,
)
from worker.media.cause import cause, is_echo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.command import Exit

_FULL: Final = re.compile(r"No space left|Disk quota exceeded|drive may be full", re.IGNORECASE)
_PASSING: Final = re.compile(
    r"Cannot allocate memory|Resource temporarily unavailable|Too many open files|Out of memory|"
    # a decoder without memory for its pictures (ffmpeg 7); what comes after it looks like damage
    r"get_buffer\(\) failed|"
    # x264; ffmpeg then speaks of incorrect parameters
    r"malloc of size \d+ failed|"
    # a file that another program moves or locks
    r"No such file or directory|Permission denied|Text file busy|"
    # a card that is busy or gone; ffmpeg then speaks of incorrect parameters
    r"OpenEncodeSessionEx failed|No capable devices found|Cannot load lib(cuda|nvcuvid|nvidia-encode)|CUDA_ERROR|"
    r"Device creation failed|Device setup failed|No device available|Failed to initialise VAAPI",
    re.IGNORECASE,
)
_MEMORY: Final = re.compile(
    r"Cannot allocate memory|Out of memory|malloc of size \d+ failed|std::bad_alloc|memory exhausted|"
    r"get_buffer\(\) failed",
    re.IGNORECASE,
)
_STORAGE: Final = re.compile(
    r"Input/output error|Stale (NFS )?file handle|Transport endpoint is not connected|Host is down|"
    r"Connection (refused|reset|timed out)|Remote I/O error",
    re.IGNORECASE,
)
_JOB: Final = re.compile(
    r"Unknown encoder|Encoder not found|Error selecting an encoder|"
    # teletext is bitmaps to ffmpeg by default
    r"Only SUBTITLE_ASS type supported|"
    r"No such filter|Unrecognized option|Option not found|Error (setting|parsing) option|"
    r"matches no streams|does not contain any stream|Undefined constant or missing|\[Eval @|"
    r"(Unable to parse|Invalid value .* for|Error applying) option|Invalid (framerate|frame rate) value|"
    r"Unknown pixel format|Unknown sample format|Could not find tag for codec|only supported in|"
    r"are supported (for|in)|Could not write header|not currently supported in container|"
    r"Unable to find a suitable output format|Requested output format|Invalid encoder type|"
    r"Error while opening encoder .* maybe incorrect parameters|Bitstream filter not found|"
    r"cannot be used together|Error reinitializing filters|Error when evaluating the expression|"
    r"Impossible to convert between the formats|Failed to configure (in|out)put pad|"
    r"Error opening output files: (Invalid argument|Result not representable)|"
    r"Can't write packet with unknown timestamp|Timestamps are unset in a packet|"
    r"Subtitle encoding currently only possible|experimental codecs are not enabled|"
    r"is not supported by the bitstream filter|Invalid metadata type|Subtitle codec \d+ is not supported|"
    # values that ffmpeg's program reads itself (5.1 to 9), before any component sees them
    r"Expected (number|int\d*) for \S+ but found|The value for \S+ was .* which is not within|"
    r"Error parsing framerate|Invalid frame size|Unknown channel layout|Unrecogni[sz]ed hwaccel|"
    r"value must be negative|value smaller than -ss",
    re.IGNORECASE,
)
# Complaints about the options of a job. They count only where the first line with a reason is one of them.
_REFUSED: Final = re.compile(
    r"not supported|unsupported|not implemented|is invalid|Invalid (?!data|NAL)|out of range|does not support|"
    r"no path between|Rematrix is needed|must be|supports only|exactly one|is experimental|cannot write an attached",
    re.IGNORECASE,
)
_SOURCE: Final = re.compile(
    r"Invalid data found when processing input|moov atom not found|not on whitelist|Unsafe file name|"
    r"Unknown decoder|Decoder .* not found|Could not find codec parameters|could not seek|EBML header parsing failed|"
    r"Error while decoding|Unsupported codec|Invalid UTF-8 in decoded subtitles text",
    re.IGNORECASE,
)
_BACKWARD: Final = re.compile(r"non.monoton\w* (increasing )?dts", re.IGNORECASE)
_BACKWARD_MEANS: Final = (
    "the times of its sound go back, as where its channels or its rate change midway;"
    " encode it with the module ffmpeg first"
)
_IGNORED: Final = re.compile(r"Error parsing option|Unknown option|has not been used for any stream", re.IGNORECASE)
# ffmpeg prints these at exit 0 for a truncated or damaged source (5.1 and 8.1, at -v warning). Complaints
# that a broadcast recording begins with (non-existing PPS, mid-frame audio) are not among them.
_DAMAGE: Final = re.compile(
    r"File ended prematurely|error while decoding|corrupt(ed)? (decoded frame|input packet)|Packet corrupt|"
    r"offset 0x[0-9a-f]+: partial file|Invalid NAL unit size|Error submitting packet to decoder|"
    r"Decoding error: Invalid data|concealing \d+|exceeds containing master element|EBML number's first byte",
    re.IGNORECASE,
)
# The last packet of a WAV that states no length, or a greater one than it has, which its header tells too.
# ffmpeg 9 writes `[in#0/wav @ …]`.
_SHORT_WAV: Final = re.compile(r"^\[(?:in#\d+/)?wav(?: @ 0x[0-9a-f]+)?\] Packet corrupt \(stream = \d+, dts = NOPTS\)")


def classify(exit_: Exit, subject: str = "") -> LeveretError:
    """Return what a failed run of ffmpeg or ffprobe means for its job; `subject` names the source or the output."""
    text, shown = exit_.complaint, _failure_line(exit_, subject)
    if _FULL.search(text):
        return DiskFull(_with_cause(shown, exit_, _FULL))
    if exit_.signal is not None:
        hint = " (a file outgrew WORKER_TOOL_FILE_BYTES)" if exit_.signal == signal.SIGXFSZ else ""
        killed = exit_.signal == signal.SIGKILL and exit_.reason is Reason.EXITED
        if killed or (exit_.signal == signal.SIGABRT and _MEMORY.search(text)):
            return ToolOutOfMemory(f"{shown} (it may have needed more memory)", passing=True)
        return ToolFailed(shown + hint, passing=True)
    if _MEMORY.search(text):
        return ToolOutOfMemory(_with_cause(shown, exit_, _MEMORY), passing=True)
    if is_host_shortage(text):
        return ToolFailed(_with_cause(shown, exit_, _PASSING), passing=True)
    if _STORAGE.search(text):
        return StorageUnavailable(_with_cause(shown, exit_, _STORAGE))
    if _JOB.search(text):
        return InvalidJob([Problem("", _with_cause(shown, exit_, _JOB))])
    if _SOURCE.search(text):
        return BadInput(_with_cause(shown, exit_, _SOURCE))
    if exit_.command.program.startswith("ffmpeg") and _REFUSED.search(cause(text) or ""):
        return InvalidJob([Problem("", shown)])
    backward = f"{subject or 'a source'}: {_BACKWARD_MEANS}"
    return BadInput(backward) if _BACKWARD.search(text) else ToolFailed(shown)


def is_host_shortage(tail: str) -> bool:
    """Return whether the tool ran out of this host's memory or descriptors, which is no fault of its input."""
    return bool(_PASSING.search(tail))


def damage(tail: str) -> str | None:
    """Return the first line that reports a cut or damaged source, though the tool may have exited 0; else None."""
    return next(iter(damages(tail)), None)


def damages(tail: str) -> tuple[str, ...]:
    """Return the lines that report a cut or damaged source, each once."""
    lines = tail.splitlines()
    found = [line for line in lines if _DAMAGE.search(line) and not _SHORT_WAV.search(line)]
    if any(_SHORT_WAV.search(line) for line in lines) and not any("Packet corrupt" in line for line in found):
        # ffmpeg says it again of the same packet
        found = [line for line in found if "corrupt input packet" not in line]
    return tuple(dict.fromkeys(map(_plain, found)))


def lost_packets(tail: str) -> tuple[str, ...]:
    """Return the lines in which a demultiplexer reports lost packets, each once."""
    return tuple(line for line in damages(tail) if "Packet corrupt" in line)


def ignored_option_lines(tail: str) -> tuple[str, ...]:
    """Return the lines about options that the tool ignored; at most five."""
    return tuple(dict.fromkeys(_plain(line) for line in tail.splitlines() if _IGNORED.search(line)))[:5]


def failed_stage(exits: Sequence[Exit]) -> Exit | None:
    """Return the stage that failed by itself, a broken pipe's last; None when all are well.

    A stage that was stopped because a peer failed, or died of SIGPIPE, is a consequence and no cause.
    """
    bad = [exit_ for exit_ in exits if not exit_.ok]
    bad.sort(key=lambda exit_: (exit_.reason != "exited", exit_.signal == signal.SIGPIPE))
    return bad[0] if bad else None


def _failure_line(exit_: Exit, subject: str) -> str:
    """Return `film.mkv: ffmpeg exited 1 after 2 s: [libx264] width not divisible by 2`: the line that says why."""
    message = str(replace(exit_, tail=cause(exit_.tail) or exit_.tail))
    return _without_addresses(f"{subject}: {message}" if subject else message)


def _with_cause(shown: str, exit_: Exit, pattern: re.Pattern[str]) -> str:
    """Return the message with the line that decided, where another one says why."""
    lines = [line.strip() for line in exit_.tail.splitlines() if line.strip()]
    decided = (line for line in lines if pattern.search(exit_.command.without_names(line)))
    found = _plain(next(decided, ""))
    return shown if not found or found in shown or is_echo(found) else f"{shown} ({found})"


def _plain(line: str) -> str:
    return _without_addresses(line.strip())[:300]


def _without_addresses(text: str) -> str:
    """Return `text` without ffmpeg's addresses (`[mov @ 0x55…]`), which differ in every run."""
    return re.sub(r" @ 0x[0-9a-f]+", "", text)
