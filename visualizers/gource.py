"""The visualizer `gource`: the history of a repository, or of several, as a film.

Gource never sees a repository: the history is cut and cleaned by us and comes as a log in its custom format, and
its options are values of ours. It draws on the virtual clock where that is proved, else on the real one.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Final

from visualizers import LONGEST_SECONDS, Scene, Shared, Visualizer, frames_from_pipe
from visualizers.clock import Clock, find_clock
from visualizers.fonts import digest_of, font_for, font_of, undrawable_names, written_title
from visualizers.gitlog import cut_dates, cut_positions
from visualizers.gource_histories import read_histories, sources_of, write_log
from visualizers.gource_pace import corrected, miss_of, pace_text, speed, with_pace
from visualizers.gource_params import GourceParams
from visualizers.gource_pictures import picture_options
from visualizers.virtual_clock import (
    EXIT_REASONS,
    HEADLESS,
    Share,
    count_environment,
    read_report,
    render_environment,
    shared_environments,
)
from worker.core.command import Command, Pipeline
from worker.core.errors import BadInput, ToolFailed, VerificationFailed
from worker.core.task import Files, FileUse
from worker.media.ffmpeg.progress import Meter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from visualizers import Stage
    from visualizers.gitlog import Commit
    from worker.core.command import Exit
    from worker.core.task import Lookup

# the real clock may lose frames to a busy host; more than these were no such accident
SLACK_FRAMES: Final = 3
SLACK_SHARE: Final = 0.01
# below it a second gource is hardly up when the first has drawn all
SHARED_SECONDS: Final = 4
_DRY_WIDTH: Final = 160


class GourceVisualizer(Visualizer[GourceParams]):
    """Draws the history of a repository with gource."""

    module: ClassVar[str] = "gource"
    params: ClassVar[type[GourceParams]] = GourceParams
    tools: ClassVar[frozenset[str]] = frozenset({"gource", "git"})

    def __init__(self, library: Path | None = None, *, cores: int | None = None) -> None:
        """Draw on the clock in `library`, by default the one that set-up has built, if it is proved.

        Up to four of the `cores`, by default those that this process may use, draw a film together.
        """
        self._library = library
        self._cores = cores if cores is not None else len(os.sched_getaffinity(0))
        self._clock: Clock | None = None
        self._proving = asyncio.Lock()

    def files(self, params: GourceParams) -> Files:
        """Return pictures, captions and sound."""
        named = ("default_avatar", "captions", "audio", "logo", "background")
        reads = [FileUse(name, place) for name in named if (place := getattr(params, name))]
        reads += [FileUse(f"avatars[{index}].image", avatar.image) for index, avatar in enumerate(params.avatars)]
        return Files(reads=tuple(reads))

    async def rehearse(self, lookup: Lookup) -> str:
        """Return which clock it is, the virtual one being proved, and why."""
        clock = await self.clock(lookup)
        return f"the {clock.name} clock: {clock.reason}"

    async def clock(self, lookup: Lookup) -> Clock:
        """Return the clock to draw on; the first call proves it, in some seconds, or minutes on a busy host."""
        async with self._proving:
            if self._clock is None:
                self._clock = await find_clock(lookup, self._library, self._cores)
            return self._clock

    async def scene(self, params: GourceParams, stage: Stage) -> Scene:
        """Return the film of the history, which is cloned, cut and counted."""
        sources = sources_of(params)
        title = written_title(params.title or "")
        await asyncio.to_thread(font_for, title)
        commits = chosen(params, await read_histories(sources, stage))
        font = await _font(title, commits, stage)
        log = stage.scratch("history.log")
        content = await asyncio.to_thread(write_log, log, commits)
        sound = await _sound(params, stage)
        clock, pace = await self.clock(stage), speed(params, commits)
        command = await _command(params, stage, log, pace, font)
        frames = await _counted(command, params, stage, clock)
        if clock.library is not None and (better := corrected(params, commits, pace, frames)) is not None:
            pace, command = better, with_pace(command, better)
            frames = await _counted(command, params, stage, clock)
        if warning := miss_of(params, frames):
            stage.warn(warning)
        if frames > LONGEST_SECONDS * params.output_framerate:
            seconds = frames // params.output_framerate
            raise BadInput(f"the film would last {seconds} s, and {LONGEST_SECONDS} are allowed; lower seconds_per_day")
        facts = {"commits": len(commits), "frames": frames, "clock": clock.name}
        stage.note("gource", facts | ({"repositories": len(sources)} if len(sources) > 1 else {}))
        digest = await asyncio.to_thread(digest_of, font)
        scene = self._scene(params, clock, command, frames, content + digest)
        return replace(scene, sound=sound, shared=Shared(log, {"pace": pace, "frames": frames, "font": digest}))

    async def range_scene(self, params: GourceParams, stage: Stage, shared: Shared) -> Scene:
        """Return the film of a history that was cut and counted before."""
        content = await asyncio.to_thread(_content, shared.file)
        digest = str(shared.facts.get("font", ""))
        font = await asyncio.to_thread(font_of, digest)
        command = await _command(params, stage, shared.file, shared.facts["pace"], font)
        return self._scene(params, await self.clock(stage), command, shared.facts["frames"], content + digest)

    def _scene(self, params: GourceParams, clock: Clock, command: tuple[str, ...], frames: int, content: str) -> Scene:
        return Scene(
            size=params.size,
            framerate=params.output_framerate,
            frames=frames,
            inputs=frames_from_pipe(params.output_framerate),
            graph="[0:v:0]null[picture]",
            painters=tuple(
                Command(command, environment) for environment in _environments(params, clock, frames, self._cores)
            ),
            content=content,
            painted=clock.library is not None,
            slack=0 if clock.library else max(SLACK_FRAMES, round(frames * SLACK_SHARE)),
        )

    async def renderer(self, lookup: Lookup) -> str | None:
        """Return which pixels this host draws: the virtual clock alone draws ranges that join."""
        clock = await self.clock(lookup)
        return f"gource {clock.pixels[:16]}" if clock.library is not None else None

    async def sound(self, params: GourceParams, stage: Stage) -> Path | None:
        """Return the file of the sound."""
        return await _sound(params, stage)

    def judge(self, scene: Scene, exits: Sequence[Exit]) -> None:
        """Return if each gource reported all its frames being written."""
        if not scene.painted:
            return
        painters = len(scene.painters)
        for index, exit_ in enumerate(exits[:painters]):
            report, due = read_report(exit_.tail.encode()), Share(index, painters).written(scene.visible_frames)
            if report is None or report.written != due:
                said = "nothing of its frames" if report is None else f"of {report.written} frames"
                raise VerificationFailed(f"gource said {said} instead of {due}")


def gource_command(
    params: GourceParams, gource: str, log: Path, extra: tuple[str, ...], seconds_per_day: float
) -> tuple[str, ...]:
    """Return gource's command: every option is a value of ours, but for the title, which is one argument."""
    hidden = ["mouse", *params.hide]
    stop = () if params.stop_at_time is None else ("--stop-at-time", f"{params.stop_at_time:.3f}")
    swing = ("--elasticity", f"{params.elasticity:.4f}") if params.elasticity > 0 else ()
    return (
        gource, "--log-format", "custom", f"-{params.resolution}",
        "--output-framerate", str(params.output_framerate), "--output-ppm-stream", "-",
        "--seconds-per-day", pace_text(seconds_per_day),
        "--auto-skip-seconds", f"{params.auto_skip_seconds:.3f}", "--time-scale", f"{params.time_scale:.3f}",
        *swing, *stop, "--stop-at-end", "--disable-input", "--max-files", "0", "--hide", ",".join(hidden),
        "--bloom-multiplier", f"{params.bloom_multiplier:.3f}", "--bloom-intensity", f"{params.bloom_intensity:.3f}",
        "--background-colour", params.background_colour,
        *(("--key",) if params.key else ()), *(("--highlight-users",) if params.highlight_users else ()),
        *(("--title", written_title(params.title)) if params.title else ()), *extra, "--path", str(log),
    )  # fmt: skip


def chosen(params: GourceParams, commits: Sequence[Commit]) -> tuple[Commit, ...]:
    """Return the commits that the film is of; BadInput when none is left."""
    if not commits:
        raise BadInput("there is no commit that changes a file")
    kept = cut_positions(cut_dates(commits, params.start_date, params.stop_date), params.start, params.stop)
    if not kept:
        first, last = (datetime.fromtimestamp(commits[at].time, UTC).strftime("%Y-%m-%d") for at in (0, -1))
        raise BadInput(
            f"none of the {len(commits)} commits lies between the dates and positions that are asked for:"
            f" the history is of {first} to {last}"
        )
    return kept


async def _font(title: str, commits: Sequence[Commit], stage: Stage) -> Path | None:
    """Return what all is written with, None for gource's own font; names that it lacks are a warning."""
    authors = {commit.author for commit in commits}
    font = await asyncio.to_thread(font_for, title, authors)
    if unwritten := await asyncio.to_thread(undrawable_names, font, authors):
        more = f" and {len(unwritten) - 1} more" if len(unwritten) > 1 else ""
        stage.warn(f"the name of the author {unwritten[0]}{more} is drawn with gaps: no font of this worker has it all")
    return font


async def _command(params: GourceParams, stage: Stage, log: Path, pace: float, font: Path | None) -> tuple[str, ...]:
    extra = await picture_options(params, stage)
    if font is not None:
        extra += ("--font-file", str(font))
    return gource_command(params, stage.tool("gource"), log, extra, pace)


def _content(log: Path) -> str:
    """Return the SHA-256 of a log."""
    with log.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _sound(params: GourceParams, stage: Stage) -> Path | None:
    if params.audio is None:
        return None
    path = await stage.input(params.audio)
    if not (await stage.probe(path)).audio:
        raise BadInput(f"{params.audio} has no sound")
    return path


def _environments(params: GourceParams, clock: Clock, frames: int, cores: int) -> Sequence[Mapping[str, str]]:
    """Return what each gource's environment adds: a film that lasts is drawn by several, frame by frame in turns."""
    if clock.library is None:
        return (HEADLESS,)
    wanted = params.frames
    if wanted.last is not None and wanted.last >= frames:
        # the end of the film is the end of every range that reaches it
        wanted = type(wanted)(wanted.first)
    if wanted.frames(frames) < SHARED_SECONDS * params.output_framerate:
        return (render_environment(clock.library, params.output_framerate, wanted),)
    return shared_environments(clock.library, params.output_framerate, cores, wanted)


async def _counted(command: tuple[str, ...], params: GourceParams, stage: Stage, clock: Clock) -> int:
    if clock.library is None:
        return await _count_really(command, params, stage)
    return await _count(command, params, stage, clock.library)


async def _count(command: tuple[str, ...], params: GourceParams, stage: Stage, library: Path) -> int:
    """Return the exact number of frames, by a dry run that draws none."""
    environment = count_environment(library, params.output_framerate)
    (exit_,) = await stage.run(Pipeline((Command(command, environment),), label="count"))
    report = read_report(exit_.tail.encode())
    if not exit_.ok or report is None:
        reason = EXIT_REASONS.get(exit_.code or 0, "")
        raise ToolFailed(f"{exit_}{reason and f' ({reason})'}", passing=exit_.signal is not None)
    return report.exported


async def _count_really(command: tuple[str, ...], params: GourceParams, stage: Stage) -> int:
    """Return about the number of frames, by a small film of the same shape on the real clock."""
    width, height = params.size
    small = f"-{_DRY_WIDTH}x{max(2, round(_DRY_WIDTH * height / width))}"
    dry = tuple(small if part == f"-{params.resolution}" else part for part in command)
    counting = (stage.tool("ffmpeg"), "-hide_banner", "-v", "error", *frames_from_pipe(params.output_framerate))
    counting += ("-progress", "pipe:1", "-f", "null", "-")
    exits = await stage.run(Pipeline((Command(dry, HEADLESS), Command(counting)), label="count"))
    meter = Meter()
    for line in exits[-1].output.splitlines():
        meter.line(line)
    for exit_ in exits:
        if not exit_.ok:
            raise ToolFailed(str(exit_), passing=exit_.signal is not None)
    return meter.step.frame or 0
