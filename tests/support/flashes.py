"""A film that flashes, beeps and says so at once, and when each of the three happens in what became of it."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from tests.support.media import ffmpeg

if TYPE_CHECKING:
    from pathlib import Path

FLASH = "1\n00:00:01,000 --> 00:00:02,000\nFlash\n"
_PICTURE = "color=black:s=160x120:r=25:d=3,geq=lum='if(between(T\\,1\\,1.999)\\,235\\,16)':cb=128:cr=128"
_SOUND = r"aevalsrc='if(between(t\,1\,2)\,0.5*sin(6283*t)\,0)':s=48000:d=3"


def flashing(path: Path, codec: str, suffix: str) -> Path:
    """Return `path`, Matroska that mkvmerge made: at 1 s it flashes, beeps and shows a cue; `codec` is the sound's.

    `suffix` is of the file that mkvmerge takes the sound from.
    """
    picture, sound, text = (path.with_name(f"plain{end}") for end in (".mp4", suffix, ".srt"))
    ffmpeg("-f", "lavfi", "-i", _PICTURE, "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", str(picture))
    ffmpeg("-f", "lavfi", "-i", _SOUND, "-c:a", codec, str(sound))
    text.write_text(FLASH, "utf-8")
    subprocess.run(("mkvmerge", "-q", "-o", path, picture, sound, text), check=True, timeout=60)
    return path


def moments(path: Path) -> dict[str, float]:
    """Return when the picture flashes, the sound begins, and the first cue is shown, of those that there are."""
    heard = ("-map", "0:a:0?", "-af", "silencedetect=n=-30dB:d=0.2")
    seen = ("-map", "0:v:0?", "-vf", "blackdetect=d=0.1:pix_th=0.5")
    asked = ("ffmpeg", "-nostdin", "-hide_banner", "-copyts", "-i", path, *heard, *seen, "-f", "null", "-")
    said = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stderr
    patterns = {"sound": r"silence_end: ([\d.]+)", "picture": r"black_end: ?([\d.]+)"}
    found = {name: float(match[1]) for name, pattern in patterns.items() if (match := re.search(pattern, said))}
    entries = ("-select_streams", "s:0", "-show_entries", "packet=pts_time", "-of", "csv=p=0")
    cues = subprocess.run(
        ("ffprobe", "-v", "error", *entries, path), capture_output=True, text=True, check=True, timeout=60
    ).stdout
    # MP4 fills the time before the first cue with an empty one
    times = [float(line.strip(",")) for line in cues.split() if line.strip(",") not in {"", "N/A"}]
    shown = next((time for time in times if time > 0), None)
    return found if shown is None else found | {"cue": shown}
