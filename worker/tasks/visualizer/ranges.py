"""A scene in parts: ranges of frames that several workers draw, and the film that they are joined to."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from worker.core.errors import CannotServe, PlanBroken, ToolFailed, VerificationFailed
from worker.core.parts import FRAMES, Part, PartLength, Plan, Whole, bounds, even_bounds, identity_of, part_key
from worker.media.ffmpeg.progress import Meter
from worker.media.parts.proof import check_join
from worker.media.parts.timeline import PacketReader, packets_command
from worker.media.scenes import Scene, Shared
from worker.media.scenes.film import film_pipeline, parts_command, plan_of, sound_pipeline
from worker.tasks.shared.decoding import require_undamaged
from worker.tasks.shared.measuring import ends_short
from worker.tasks.shared.parts import TOO_SHORT, joinable, prove_part, read_packets
from worker.tasks.shared.running import progress_reporter, run_checked
from worker.tasks.visualizer.stage import Stage, require_success, windowed_scene

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.core.parts import Fleet
    from worker.core.ports import Repositories
    from worker.core.task import TaskContext
    from worker.media.hls.plan import Plan as FilmPlan
    from worker.media.scenes import SceneParams, Visualizer
    from worker.tasks.shared.parts import Builds

HISTORY: Final = "history"
"""The part that holds what every range is drawn of; the plan has it at hand."""
MAX_SHARED_BYTES: Final = 128 << 20
SHORTEST_SECONDS: Final = 10.0
"""Each part simulates the whole film, so parts are few and long: one a worker, and none is shorter than this."""


class Ranges:
    """The parts of one scene."""

    def __init__(
        self, visualizer: Visualizer[Any], repositories: Repositories, builds: Builds, context: TaskContext
    ) -> None:
        self._visualizer = visualizer
        self._repositories = repositories
        self._builds = builds
        self._context = context

    async def plan(self, params: SceneParams, task: int, fleet: Fleet) -> Plan | Whole:
        """Return the ranges, or why one worker draws all of them; the scene is counted for it."""
        if params.parts == "auto" and fleet.workers < 2:  # noqa: PLR2004 - one worker gains nothing
            return Whole("one worker makes it as soon")
        if params.time_limit is not None or params.on_timeout == "keep":
            return Whole("its time limit is that of the whole film")
        if not fleet.shared_storage:
            return Whole("only one host sees the storage")
        build = await self._build()
        if build is None:
            return Whole("its frames cannot be drawn in ranges here")
        stage = _NotingStage(self._context, self._repositories)
        scene = windowed_scene(await self._visualizer.scene(params, stage), params)
        if not scene.content or scene.slack:
            return Whole("its frames cannot be drawn in ranges here")
        cuts = cuts_of(scene, params, fleet)
        if len(cuts) <= 2:  # noqa: PLR2004 - the beginning and the end
            return Whole(TOO_SHORT)
        data = await self._data(params)
        identity = identity_of(data, scene.content, scene.frames, build)
        parts = tuple(
            Part(index, part_key(identity, FRAMES, first, last), first, last)
            for index, (first, last) in enumerate(pairwise(cuts))
        )
        if scene.shared is not None and scene.shared.file.stat().st_size <= MAX_SHARED_BYTES:
            key = part_key(identity, HISTORY)
            history = Part(len(parts), key, name=HISTORY, suffix=scene.shared.file.suffix, shared=True)
            self._context.share(history.file, scene.shared.file)
            parts = (*parts, history)
        details = {
            "shared": dict(scene.shared.facts) if scene.shared else {},
            "data": data, "frames": scene.frames, "size": list(scene.size), "rate": scene.framerate,
            "facts": stage.facts,
        }  # fmt: skip
        return Plan(task, scene.visible_frames, identity, build, parts, details)

    async def is_planned(self, params: SceneParams, plan: Plan) -> bool:
        """Return whether the data is that of the plan, and the files that it names.

        The history may have moved on: the film is that of the moment it was planned, and each part compares.
        """
        return plan.details.get("data") == await self._data(params)

    async def _data(self, params: SceneParams) -> str:
        versions = [await self._context.version(use.location) for use in self._visualizer.files(params).reads]
        return identity_of(params.model_dump(mode="json", exclude={"parts"}), versions)

    async def _build(self) -> str | None:
        """Return what decides the bytes of a part: how a frame looks here, and the encoder."""
        renderer = await self._visualizer.renderer(self._context)
        return None if renderer is None else f"{renderer}, {await self._builds.of(self._context)}"

    async def draw(self, params: SceneParams, plan: Plan, part: Part) -> None:
        """Draw one range, and prove it; PlanBroken where the history is another one than was planned."""
        context, build = self._context, await self._build()
        if build != plan.build:
            raise CannotServe(f"this worker draws with {build or 'no renderer'}, and the parts are by {plan.build}")
        begin = params.first_frame
        ours = params.model_copy(update={"first_frame": begin + part.first, "last_frame": begin + part.last})
        if part.name == HISTORY:
            await self._share_again(params, plan, part)
            return
        scene = await self._planned_scene(ours, plan, await self._data(params))
        scene = replace(windowed_scene(scene, ours), sound=None)
        folder = context.scratch("part/x").parent
        film, meter = plan_of(scene), Meter(scene.visible_frames)

        pipeline = film_pipeline(scene, film, context.tool("ffmpeg"), folder, joined=True)
        exits = await context.run(pipeline, progress_reporter(context, meter))
        require_success(exits, params, context)
        self._visualizer.judge(scene, exits)
        made = folder / f"{_name(film)}.mp4"
        await prove_part(made, part, Fraction(scene.framerate), 1, context)
        context.adopt(made, part.file, role="part")

    async def _planned_scene(self, params: SceneParams, plan: Plan, data: str) -> Scene:
        """Return the scene that was planned: of the history that the plan shared, else of one that is cloned here.

        PlanBroken where that is another one by now.
        """
        stage = Stage(self._context, self._repositories)
        for history in plan.named(HISTORY):
            if (file := self._context.shared(history.file)) is not None:
                scene = await self._visualizer.range_scene(params, stage, Shared(file, plan.details["shared"]))
                if identity_of(data, scene.content, scene.frames, plan.build) == plan.identity:
                    return scene
        scene = await self._visualizer.scene(params, stage)
        if identity_of(data, scene.content, scene.frames, plan.build) != plan.identity:
            raise PlanBroken("the history is not the one that was planned")
        return scene

    async def _share_again(self, params: SceneParams, plan: Plan, part: Part) -> None:
        """Make the shared file anew: it got lost after the plan."""
        scene = await self._planned_scene(params, plan, await self._data(params))
        if scene.shared is None:
            raise PlanBroken("the scene shares nothing")
        self._context.adopt(scene.shared.file, part.file, role="part")

    async def join(self, params: SceneParams, plan: Plan, parts: Mapping[int, Path], folder: Path) -> FilmPlan:
        """Return the plan of what lies in `folder` then: the film that is joined of its parts, and its sound."""
        context, details = self._context, plan.details
        sound = await self._visualizer.sound(params, Stage(context, self._repositories))
        width, height = details["size"]
        scene = Scene(
            size=(width, height), framerate=details["rate"], frames=details["frames"], inputs=(), graph="", sound=sound
        )
        scene = windowed_scene(scene, params)
        film, rate = plan_of(scene), Fraction(scene.framerate)
        target = folder / f"{_name(film)}.mp4"
        listing = await joinable(plan, rate, parts, context)
        await run_checked(context, parts_command(context.tool("ffmpeg"), listing, scene, target), "the join")
        reader = PacketReader(0, most=plan.frames + 1)
        await read_packets(packets_command(context.tool("ffprobe"), target), reader, context)
        check_join(reader, plan, rate, "the film")
        if sound is not None:
            try:
                accepts = await ends_short(sound)
                pipeline = sound_pipeline(scene, context.tool("ffmpeg"), sound, folder, accept_damage=accepts)
                await run_checked(context, pipeline, sound.name)
            except ToolFailed:
                await require_undamaged(sound, sound.name, context)
                raise
        for key, value in details["facts"].items():
            context.note(key, value)
        return film


def cuts_of(scene: Scene, params: SceneParams, fleet: Fleet) -> tuple[int, ...]:
    """Return where ranges begin, and the end: groups of pictures are not divided."""
    film, rate = plan_of(scene), Fraction(scene.framerate)
    gop = film.timing.gop if film.timing else 1
    if isinstance(params.parts, PartLength):
        return bounds(scene.visible_frames, rate, params.parts.seconds, gop)
    return even_bounds(
        scene.visible_frames, min(fleet.workers, int(scene.visible_frames / rate / SHORTEST_SECONDS)), gop
    )


def _name(film: FilmPlan) -> str:
    if film.picture is None:
        raise VerificationFailed("a film has a picture")
    (rendition,) = film.picture.renditions
    return rendition.name


class _NotingStage(Stage):
    """Keeps the facts of a scene, for the record of the film that is joined later."""

    def __init__(self, context: TaskContext, repositories: Repositories) -> None:
        super().__init__(context, repositories)
        self.facts: dict[str, object] = {}
        self.note = self._keep

    def _keep(self, key: str, value: object) -> None:
        self.facts[key] = value
