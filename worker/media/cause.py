"""The line of a tool's last words that says why it failed: seldom the last one.

ffmpeg lets the component speak first (`[libx264 @ 0x55…] width not divisible by 2 (319x180)`), then each layer above
it says that something below failed, and a filter that is closed adds its own figures.
"""

from __future__ import annotations

import re
from typing import Final

# Messages of the layers above a failed component (ffmpeg 5.1, 7.1 and 8.1): they do not say why it failed.
_ECHO: Final = re.compile(
    r"maybe incorrect parameters|Error initializing (output|filter|the muxer|a simple)|Error while opening encoder|"
    r"Error sending frames|Task finished with error|Terminating thread|Could not open encoder before EOF|"
    r"Nothing was written into|Error opening (output|input) files?|Could not write header|Conversion failed|"
    r"Error reinitializing filters|Failed to inject frame|Error while processing the decoded data|"
    r"Error submitting a|Error muxing a packet|Last message repeated|Exiting with exit code|"
    r"Error applying (option|encoder)|Error setting option|_encoder_init failed|Failed to configure (in|out)put pad|"
    r"Error configuring (filter|complex)|Cannot open lib\w+ encoder|Failed to set option|Error writing trailer|"
    r"av_interleaved_write_frame\(\)|Error parsing (global )?options|Error splitting|Error while filtering|"
    r"Error initializing complex filters|Error binding filtergraph|Error during demuxing|^Error opening |"
    r"Error initializing bitstream filter|EncoderError|hb_init|^\s*$",
    re.IGNORECASE,
)
_INITIALIZATION: Final = re.compile(r"^Error initializing output stream \d+:\d+ -- ")
# Messages that successful runs print too, and lists of the values that would be valid.
_CHATTER: Final = re.compile(
    r"No accelerated colorspace conversion|deprecated pixel format|Untagged transfer|encoding as 24 bits|"
    r"Supported (sample|channel|pixel|frame)|^\[[^]]*\]\s{2,}\S+$|frames left in the queue|Frame size: |"
    r"Timestamps are unset|Guessed Channel Layout|not enough frames to estimate|non monoton|Qavg:|"
    r"x26[45] \[(info|warning)\]|Svt\[(info|warn)\]|^Svt\[version\]|Supported (preset|tune|profile)s|"
    r"starting new cluster|Consider increasing|has not been used for any stream|Queue input is backward|"
    r"Could not find codec parameters|misdetection possible|"
    r"^(Stream|Input|Output) #|^Stream mapping|^  |deprecated|Your (file|stream) may|Alignment|"
    r"Last message repeated|is not a known|^Press |^\(.*\)$|^Codec AVOption|Incompatible pixel format|"
    r"Multiple .* options specified|timescale not set|unspecified pixel format|"
    r"Truncating packet|Specified rc mode|frame size|^Available|valid layout|Exact seek|"
    r"^[IW]\d{4} |from the buffer: |^Cloning into|^#GUI#(?!error)|^mkv\w+ v\d|"
    r"Using the (demultiplexer|output module)|has been opened for writing|"
    r"The cue entries|^\(/|"
    r"Encoder did not produce proper pts|[Uu]se -strict|or experimental encoder|Too many packets buffered",
)


def cause(tail: str) -> str | None:
    """Return the first line that gives the reason of a failure; None where no line does."""
    for line in tail.splitlines():
        # ffmpeg 5.1 puts an initialization's own reason behind the dashes, where it has one
        said = _INITIALIZATION.sub("", line).strip()
        if said and not is_echo(said) and not _CHATTER.search(line):
            return said[:300]
    return None


def is_echo(line: str) -> bool:
    """Return whether a line says that something failed, and not why."""
    return _ECHO.search(line) is not None
