"""Each option of each tool, and the argv that the module makes of it with a path as its value."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from visualizers.gource import gource_command
from visualizers.gource_params import GourceParams
from worker.core.errors import LeveretError
from worker.core.job import TaskSpec
from worker.media.ffmpeg.filters import AUDIO_FILTERS, VIDEO_FILTERS, filter_problem
from worker.media.ffmpeg.options import (
    INPUT_OPTIONS,
    KIND_OPTIONS,
    Encoder,
    arguments,
    input_problems,
    output_problems,
    parameters_problem,
    parse_encoder_options,
    parse_encoders,
)
from worker.media.handbrake.command import SECTIONS, HandbrakeParams, handbrake_command
from worker.media.hls.packager import Input, packager_command
from worker.media.hls.params import HlsParams
from worker.media.matroska.merge import MergeFiles, merge_arguments, option_file_command, parse_identified
from worker.media.matroska.options import (
    GLOBAL_FLAGS,
    GLOBAL_VALUES,
    SOURCE_FLAGS,
    SOURCE_VALUES,
    TRACK_FLAGS,
    TRACK_VALUES,
)
from worker.media.matroska.params import MergeParams
from worker.registry import Registry
from worker.tasks.handbrake import HandbrakeTask
from worker.tasks.mkvmerge import MkvmergeTask

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CANARY = "leveret-canary.txt"
"""The file that no tool may touch; it lies in the folder that tools run in."""

GOURCE_TEXTS = frozenset({"title", "background_colour", "resolution", "output_ppm_stream", "start_date", "hide"})
"""Fields of gource's task that are no numbers, no switches, and no files that the worker itself fetches."""

PARAMETERS = {
    "libx264": ("x264-params", "libx264"), "libx265": ("x265-params", "libx265"),
    "libsvtav1": ("svtav1-params", "libSvtAv1Enc"), "libaom-av1": ("aom-params", "libaom"),
}  # fmt: skip
"""Encoders whose library has parameters of its own: the option that takes them, and the library's file."""

_LONGEST_WORD = 28
_OFFSCREEN = ("env", "SDL_VIDEODRIVER=offscreen", "LIBGL_ALWAYS_SOFTWARE=1", "timeout", "8")
_TINY = {"v": "testsrc=s=256x144:r=10:d=0.3", "a": "sine=d=0.3"}


@dataclass(frozen=True, slots=True)
class Case:
    """One option with a path as its value: the command to trace, or why the module refuses the value."""

    tool: str
    where: str
    option: str
    argv: tuple[str, ...] = ()
    refusal: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what names the case in the table."""
        return self.tool, self.where, self.option


def static_names() -> frozenset[tuple[str, str, str]]:
    """Return the options that the modules allow on every host: each is in the table."""
    found = {("handbrake", section, name) for section, names in SECTIONS.items() for name in names}
    found |= {("mkvmerge", "file", name) for name in GLOBAL_FLAGS | GLOBAL_VALUES}
    found |= {("mkvmerge", "source", name) for name in SOURCE_FLAGS | SOURCE_VALUES}
    found |= {("mkvmerge", "track", name) for name in TRACK_FLAGS | TRACK_VALUES}
    found |= {("ffmpeg", "input", name) for name in INPUT_OPTIONS}
    found |= {("ffmpeg", f"output {kind}", name) for kind, names in KIND_OPTIONS.items() for name in names}
    found |= {("gource", "task", name) for name in GOURCE_TEXTS} | {("packager", "task", "language")}
    return frozenset(found | {("ffmpeg", "filter", name) for name in VIDEO_FILTERS | AUDIO_FILTERS})


def cases(tools: dict[str, str], folder: Path, clip: Path) -> Iterator[Case]:
    """Yield every option of every tool in `tools` (name: path) over `clip`; outputs go to `folder`."""
    if "handbrake" in tools:
        yield from _handbrake(tools["handbrake"], folder, clip)
    if "mkvmerge" in tools:
        yield from _mkvmerge(tools["mkvmerge"], folder, clip)
    if "ffmpeg" in tools:
        yield from _ffmpeg(tools["ffmpeg"], folder, clip)
    if "parameters" in tools:
        yield from _parameters(tools["parameters"])
    if "gource" in tools:
        yield from _gource(tools["gource"], folder)
    if "packager" in tools:
        yield from _packager(tools["packager"], folder, clip)


def _handbrake(program: str, folder: Path, clip: Path) -> Iterator[Case]:
    registry = Registry({"handbrake": HandbrakeTask()})
    for section, names in SECTIONS.items():
        for name in sorted(names):
            for value in (str(folder / CANARY), CANARY):
                data = {"source": "a.mkv", "output_file": "b.mkv", section: {name: value}}
                try:
                    _, params = registry.parse(TaskSpec("handbrake", data, "handbrake"))
                except LeveretError as error:
                    yield Case("handbrake", section, name, refusal=str(error))
                    continue
                assert isinstance(params, HandbrakeParams)
                command = handbrake_command(params, program, clip, folder / "out.mkv")
                yield Case("handbrake", section, name, command.argv)


def _mkvmerge(program: str, folder: Path, clip: Path) -> Iterator[Case]:
    registry = Registry({"mkvmerge": MkvmergeTask()})
    answer = subprocess.run((program, "-J", str(clip)), capture_output=True, text=True, check=True).stdout
    found = parse_identified(answer, clip.name)
    places: dict[str, Iterable[str]] = {
        "file": GLOBAL_FLAGS | GLOBAL_VALUES,
        "source": SOURCE_FLAGS | SOURCE_VALUES,
        "track": TRACK_FLAGS | TRACK_VALUES,
    }
    for where, names in places.items():
        for name in sorted(names):
            options = {name: str(folder / CANARY)}
            data: dict[str, Any] = {
                "sources": [{"filename": "a.mkv", "options": options if where == "source" else {}}],
                "tracks": [{"track": 0, "options": options if where == "track" else {}}],
                "options": options if where == "file" else {},
                "output_file": "b.mkv",
            }
            try:
                _, params = registry.parse(TaskSpec("mkvmerge", data, "mkvmerge"))
                assert isinstance(params, MergeParams)
                option_text = merge_arguments(params, [found], MergeFiles((clip,), (), folder / "out.mkv"))
            except LeveretError as error:
                yield Case("mkvmerge", where, name, refusal=str(error))
                continue
            listed = folder / f"options-{where}-{name}.json"
            listed.write_text(json.dumps(option_text))
            yield Case("mkvmerge", where, name, option_file_command(program, listed).argv)


def _ffmpeg(program: str, folder: Path, clip: Path) -> Iterator[Case]:
    path = str(folder / CANARY)
    head = (program, "-nostdin", "-v", "error", "-y")
    for name in sorted(INPUT_OPTIONS):
        refusal = next((problem.message for problem in input_problems({name: path}, "")), "")
        argv = (*head, *arguments({name: path}), "-i", f"file:{clip}", "-frames:v", "1", "-f", "null", "-")
        yield Case("ffmpeg", "input", name, () if refusal else argv, refusal)
    for kind, names in KIND_OPTIONS.items():
        for name in sorted(names):
            yield _output(head, clip, kind, None, name, path)
    for encoder in _encoders(program):
        for name in sorted(encoder.options):
            yield _output(head, clip, encoder.kind, encoder, name, path)
    for kind, names in (("v", VIDEO_FILTERS), ("a", AUDIO_FILTERS)):
        for name in sorted(names):
            yield _filter(head, kind, name, "", path)
            for option in _filter_options(program, name):
                yield _filter(head, kind, name, option, path)


def _parameters(program: str) -> Iterator[Case]:
    """Yield every word in an encoder's library as one of its own parameters: it names those that it knows."""
    head = (program, "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", "color=s=128x96:r=5:d=0.4")
    for encoder, (option, library) in PARAMETERS.items():
        path = next((path for path in _libraries(program) if path.rpartition("/")[2].startswith(library)), None)
        for name in _words(path) if path else ():
            value = f"{name}={CANARY}"
            refusal = parameters_problem(value) or ""
            argv = (*head, "-c:v", encoder, f"-{option}", value, "-f", "null", "-")
            yield Case("parameters", option, name, () if refusal else argv, refusal)


def _libraries(program: str) -> list[str]:
    listed = subprocess.run(("ldd", program), capture_output=True, text=True, check=False).stdout
    return re.findall(r"=> (\S+)", listed)


def _words(library: str) -> list[str]:
    """Return what in a library could be the name of a parameter."""
    with open(library, "rb") as file:  # noqa: PTH123 - a file of the system
        found = re.findall(rb"\0([a-z][a-z0-9]+(?:-[a-z0-9]+){0,4})(?=\0)", file.read())
    return sorted({word.decode() for word in found if len(word) <= _LONGEST_WORD})


def _gource(program: str, folder: Path) -> Iterator[Case]:
    """Yield gource's texts, as a path and as an option that takes one."""
    log = folder / "history.log"
    log.write_text("1000000000|a|A|a.txt\n1000100000|b|M|a.txt\n")
    path = str(folder / CANARY)
    for name in sorted(GOURCE_TEXTS):
        for value in (path, f"--load-config={path}", "--load-config", f"@{path}", f"--path {path}"):
            try:
                params = GourceParams.model_validate({"repo_url": "https://example.org/a.git", name: value})
            except ValidationError as error:
                yield Case("gource", "task", name, refusal=str(error))
                continue
            argv = gource_command(params, program, log, (), 1.0)
            yield Case("gource", "task", name, (*_OFFSCREEN, *argv, "--stop-at-time", "1"))


def _packager(program: str, folder: Path, clip: Path) -> Iterator[Case]:
    path = str(folder / CANARY)
    for value in (path, CANARY, f"eng,in={CANARY}", "eng"):
        try:
            HlsParams.model_validate({"source": "a.mkv", "audio": [{"stream": 0, "language": value}]})
        except ValidationError as error:
            yield Case("packager", "task", "language", refusal=str(error))
            continue
        shutil.copy(clip, folder / "sound.mp4")
        inputs = (Input("sound", value, "group"),)
        yield Case(
            "packager", "task", "language", packager_command(program, folder, inputs, Fraction(2), Fraction(2)).argv
        )


def _output(head: tuple[str, ...], clip: Path, kind: str, encoder: Encoder | None, name: str, path: str) -> Case:
    where = f"encoder {encoder.name}" if encoder else f"output {kind}"
    refusal = next((problem.message for problem in output_problems({name: path}, kind, encoder, "")), "")
    if refusal:
        return Case("ffmpeg", where, name, refusal=refusal)
    codec = (f"-c:{kind}", encoder.name) if encoder else ()
    argv = (*head, "-i", f"file:{clip}", "-map", f"0:{kind}:0?", *codec, *arguments({name: path}, f":{kind}"))
    return Case("ffmpeg", where, name, (*argv, "-frames:v", "2", "-t", "0.2", "-f", "matroska", "out.mkv"))


def _filter(head: tuple[str, ...], kind: str, name: str, option: str, path: str) -> Case:
    given = f"{name}={option}={path}" if option else f"{name}={path}"
    refusal = filter_problem(given, VIDEO_FILTERS if kind == "v" else AUDIO_FILTERS) or ""
    shown = f"{name}={option}" if option else name
    argv = (
        *head,
        "-f",
        "lavfi",
        "-i",
        _TINY[kind],
        f"-{kind}f",
        given,
        f"-frames:{kind}",
        "1",
        "-f",
        "null",
        "-",
    )
    return Case("ffmpeg", "filter", shown, () if refusal else argv, refusal)


def _encoders(program: str) -> Iterator[Encoder]:
    listed = subprocess.run((program, "-hide_banner", "-encoders"), capture_output=True, text=True, check=True).stdout
    for name, encoder in sorted(parse_encoders(listed).items()):
        answer = subprocess.run(
            (program, "-hide_banner", "-h", f"encoder={name}"), capture_output=True, text=True, check=True
        )
        _, options = parse_encoder_options(answer.stdout)
        if options:
            yield Encoder(name, encoder.kind, encoder.codec, options)


def _filter_options(program: str, name: str) -> tuple[str, ...]:
    answer = subprocess.run(
        (program, "-hide_banner", "-h", f"filter={name}"), capture_output=True, text=True, check=True
    )
    return tuple(dict.fromkeys(re.findall(r"(?m)^ {1,3}(\w+) +<\w+>", answer.stdout)))
