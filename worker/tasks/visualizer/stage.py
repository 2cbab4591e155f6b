"""The part of a task's context that a visualizer uses, and the judgement of a scene's drawing."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from worker.core.errors import BadInput, InvalidJob, Problem
from worker.media.failure import classify, failed_stage
from worker.tasks.shared.measuring import probe_source
from worker.tasks.shared.running import refuse_damage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from worker.core.command import Exit
    from worker.core.media_info import MediaInfo
    from worker.core.ports import Repositories
    from worker.core.task import TaskContext
    from worker.media.scenes import Repository, Scene, SceneParams


def windowed_scene(scene: Scene, params: SceneParams) -> Scene:
    """Return the scene with the frames that are wanted; InvalidJob where it has not so many."""
    wanted = params.frames
    last = scene.frames if wanted.last is None else wanted.last
    if wanted.first >= scene.frames or last > scene.frames:
        message = f"the film has {scene.frames} frames, not {max(wanted.first + 1, last)}"
        raise InvalidJob([Problem("last_frame" if wanted.last else "first_frame", message)])
    return replace(scene, window=wanted)


def require_success(exits: Sequence[Exit], params: SceneParams, context: TaskContext) -> None:
    """Return if every stage did all that it had to; what the first failure means is raised."""
    if (bad := failed_stage(exits)) is not None:
        error = classify(bad)
        if isinstance(error, BadInput) and params.damage == "refuse":
            refuse_damage(bad.complaint, "a source", context)
        raise error
    refuse_damage(exits[-1].complaint, "a source", context, params.damage)


class Stage:
    """The part of a running task's context that a visualizer may use; histories are cloned for it."""

    def __init__(self, context: TaskContext, repositories: Repositories) -> None:
        self._context, self._repositories = context, repositories
        self.option_set = context.option_set
        self.encoder, self.encoders = context.encoder, context.encoders
        self.render_node = context.render_node
        self.tool = context.tool
        self.run = context.run
        self.input, self.listing = context.input, context.listing
        self.scratch = context.scratch
        self.note = context.note
        self.warn = context.warn

    async def probe(self, path: Path) -> MediaInfo:
        """Return what a source is, its length measured where its container may be wrong about it."""
        return await probe_source(path, path.name, self._context, to_its_end=True)

    async def history(self, repository: Repository, arguments: Sequence[str]) -> Path:
        """Return the file that git wrote of a clone, which is gone then; the next one has the same place."""
        into = self._context.scratch("clone")
        label = str(into.parent.parent)
        try:
            clone = await self._repositories.clone(
                repository.url, into, token=repository.token, mailmap=repository.mailmap, label=label
            )
            for warning in clone.warnings:
                self._context.warn(warning)
            named = [argument.replace("{repository}", str(clone.folder)) for argument in arguments]
            log = await self._repositories.log(clone.folder, named, name=repository.name, label=label)
            return await asyncio.to_thread(log.replace, self._context.scratch("history"))
        finally:
            # the next one is cloned to the same place, and the disk holds one at a time
            await asyncio.to_thread(shutil.rmtree, into, ignore_errors=True)
