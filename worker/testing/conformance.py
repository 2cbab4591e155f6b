"""The conformance tests of every task and of every visualizer: the rules that no type checker sees."""

from __future__ import annotations

import inspect
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ValidationError

from worker.core.errors import InvalidJob
from worker.core.job import TaskSpec
from worker.media.scenes import SceneParams
from worker.registry import Registry
from worker.tasks.visualizer import VisualizerTask
from worker.testing.fakes import NoRepositories

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.core.task import Task
    from worker.media.scenes import Visualizer

_MODULE: Final = re.compile(r"^[a-z][a-z0-9_-]{0,63}$")
_CAPABILITY: Final = re.compile(r"^[a-z][a-z0-9_-]*:[^\s:]+$")
_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def check_task(task: Task[Any], example: Mapping[str, Any]) -> None:
    """Return when `task` keeps the plug-in API's rules with the data `example`; AssertionError names what it breaks."""
    kind = type(task)
    _require(bool(_MODULE.match(getattr(task, "module", ""))), f"{kind.__name__}.module is no plain lower-case name")
    _require(task.weight > 0, f"{task.module}: weight must be above 0")
    for name in ("prepare", "run", "cleanup"):
        _require(inspect.iscoroutinefunction(getattr(task, name)), f"{task.module}: {name} must be async")
    _check_model(task, example)
    try:
        _, params = Registry({task.module: task}).parse(TaskSpec(task.module, example, ""))
    except InvalidJob as error:
        raise AssertionError(f"{task.module}: the example itself is refused: {error}") from error
    document = params.model_dump(by_alias=True, mode="json")
    files = task.files(params)
    for use in (*files.reads, *files.writes, *files.removes):
        _require(bool(use.location), f"{task.module}: files() names an empty location at {use.path}")
        found = _at(document, use.path)
        _require(found is not None, f"{task.module}: files() says {use.path}, and the data has no such place")
    for name in task.requires(params):
        _require(bool(_CAPABILITY.match(name)), f"{task.module}: requires() says {name!r}, not kind:name")


def check_visualizer(visualizer: Visualizer[Any], example: Mapping[str, Any]) -> None:
    """Return when `visualizer` keeps the rules with the options `example`; AssertionError names what it breaks."""
    name = getattr(visualizer, "module", type(visualizer).__name__)
    model = visualizer.params
    _require(issubclass(model, SceneParams), f"{name}: params must be a model of visualizers.SceneParams")
    for field_name in SceneParams.model_fields:
        same = model.model_fields[field_name].annotation == SceneParams.model_fields[field_name].annotation
        _require(same, f"{name}: the option {field_name} is every visualizer's, and means the same in each")
    for method in ("scene", "rehearse"):
        _require(inspect.iscoroutinefunction(getattr(visualizer, method)), f"{name}: {method} must be async")
    for tool in visualizer.tools:
        _require(bool(_MODULE.match(tool)), f"{name}: tools says {tool!r}, which is no program's plain name")
    _require(
        not visualizer.files(model.model_validate(dict(example))).writes, f"{name}: the film is not its own to name"
    )
    check_task(VisualizerTask(visualizer, NoRepositories()), example)


def _check_model(task: Task[Any], example: Mapping[str, Any]) -> None:
    model = task.params
    _require(issubclass(model, BaseModel), f"{task.module}: params is no pydantic model")
    _require(model.model_config.get("extra") == "forbid", f"{task.module}: params must forbid extra fields")
    json.dumps(model.model_json_schema())
    for key in example:
        for odd in (None, True, -1, 1e300, "", "..", [], [None], {}, {"": None}):
            with suppress(ValidationError):  # whatever a publisher writes is accepted or refused, never a crash
                model.model_validate({**example, key: odd})


def _require(condition: bool, message: str) -> None:  # noqa: FBT001 - as assert takes it
    if not condition:
        raise AssertionError(message)


def _at(document: Any, path: str) -> Any:
    """Return what is at `sources[0].filename` in `document`; None for nothing."""
    for name, index in _STEP.findall(path):
        try:
            document = document[int(index)] if index else document[name]
        except (KeyError, IndexError, TypeError):
            return None
    return document
