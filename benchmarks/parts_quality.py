"""How good a joined film is, and whether anybody sees its cuts: pictures compared with those of the source."""

from __future__ import annotations

import re
import subprocess
from statistics import fmean
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NEAR: Final = 12
"""How many pictures on either side of a cut are looked at by themselves."""
_MEASURES: Final = {"psnr": r"psnr_avg:(\S+)", "ssim": r"All:(\S+)"}
_BEST_DECIBELS: Final = 100.0


def print_quality(source: Path, whole: Path, joined: Path, cuts: Sequence[int], ffmpeg: str) -> None:
    """Print the means over all pictures and over those near a cut, of the whole run and of the join."""
    listed = subprocess.run((ffmpeg, "-v", "quiet", "-filters"), check=True, capture_output=True, text=True).stdout
    has_vmaf = "libvmaf" in listed
    note = "" if has_vmaf else "; this ffmpeg has no libvmaf"
    print(f"\nCompared with the source, {len(cuts)} cuts, {NEAR} pictures on either side of each{note}:\n")
    print("| | all, whole | all, in parts | near cuts, whole | near cuts, in parts |\n|---|---|---|---|---|")
    measures = [*_MEASURES, *(["vmaf"] if has_vmaf else [])]
    for name in measures:
        films = [scores(film, source, name, ffmpeg) for film in (whole, joined)]
        near = [[value for at, value in enumerate(found) if _is_near(at, cuts)] or found for found in films]
        figures = [fmean(films[0]), fmean(films[1]), fmean(near[0]), fmean(near[1])]
        print(f"| {name} | " + " | ".join(f"{figure:.4f}" for figure in figures) + " |", flush=True)


def scores(film: Path, source: Path, name: str, ffmpeg: str = "ffmpeg") -> list[float]:
    """Return a score for each picture: decibels of PSNR, the share of SSIM, or VMAF."""
    # By their numbers: two containers need not say the same time of a picture to the last digit.
    graph = "[0:v]settb=1/25,setpts=N[a];[1:v]settb=1/25,setpts=N[b];[a][b]"
    if name == "vmaf":
        graph, pattern = f"{graph}libvmaf=log_fmt=csv:log_path=/dev/stdout", r",(\d+\.\d+),?$"
    else:
        graph, pattern = f"{graph}{name}=stats_file=-", _MEASURES[name]
    argv = (ffmpeg, "-nostdin", "-v", "error", "-i", str(film), "-i", str(source), "-lavfi", graph, "-f", "null", "-")
    text = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return [min(_BEST_DECIBELS, float(found)) for found in re.findall(pattern, text, re.MULTILINE)]


def _is_near(picture: int, cuts: Sequence[int]) -> bool:
    return any(abs(picture - cut) <= NEAR for cut in cuts)
