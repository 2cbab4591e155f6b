"""The modules that jobs may name, found by entry points of the group `leveret.tasks`."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from worker.core.errors import InvalidJob, Misconfigured, Problem
from worker.core.faults import FIELDS_ALONE
from worker.core.hints import bounded_hints, nearest
from worker.core.message.wire import problems_of
from worker.core.task import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    from worker.core.job import TaskSpec

GROUP = "leveret.tasks"
PluginT = TypeVar("PluginT")


@dataclass(frozen=True, slots=True)
class Registry:
    """Every known task by its module's name."""

    tasks: Mapping[str, Task[Any]] = field(default_factory=dict)

    @classmethod
    def load(cls, points: Iterable[EntryPoint] | None = None, more: Iterable[Task[Any]] = ()) -> Registry:
        """Return the installed tasks, and `more` (the visualizers' tasks).

        Misconfigured for a plug-in that is broken or doubled: it stops the start.
        """
        tasks: dict[str, Task[Any]] = {}
        installed: tuple[Task[Any], ...] = plugins(GROUP, Task, points)  # type: ignore[type-abstract]  # a base to compare with
        for task in (*installed, *more):
            if task.module in tasks:
                raise Misconfigured(
                    f"two plug-ins are named {task.module!r}: {type(tasks[task.module]).__module__} and"
                    f" {type(task).__module__}; uninstall one of them"
                )
            tasks[task.module] = task
        return cls(tasks)

    def parse(self, spec: TaskSpec) -> tuple[Task[Any], BaseModel]:
        """Return the task that `spec` names and its validated data; InvalidJob with every problem."""
        with bounded_hints():
            return self._parse(spec)

    def _parse(self, spec: TaskSpec) -> tuple[Task[Any], BaseModel]:
        task = self.tasks.get(spec.module)
        if task is None:
            path = spec.path.removesuffix(".data")
            raise InvalidJob([Problem(path, f"unknown module {spec.module[:100]!r}{nearest(spec.module, self.tasks)}")])
        try:
            return task, task.params.model_validate(dict(spec.data))
        except ValidationError as error:
            raise InvalidJob(problems_of(error, spec.path, task.params)) from error

    def fields_alone(self, spec: TaskSpec) -> tuple[Task[Any], BaseModel] | None:
        """Return a refused task whose data is wrong between its fields only, so that its files can be judged too."""
        task = self.tasks.get(spec.module)
        try:
            with bounded_hints():
                return (task, task.params.model_validate(dict(spec.data), context=FIELDS_ALONE)) if task else None
        except ValidationError:
            return None


def plugins(group: str, base: type[PluginT], points: Iterable[EntryPoint] | None = None) -> tuple[PluginT, ...]:
    """Return what is installed in a group of entry points: one object of each class. Misconfigured for a broken one."""
    return tuple(_loaded(point, base) for point in (entry_points(group=group) if points is None else points))


def _loaded(point: EntryPoint, base: type[PluginT]) -> PluginT:
    try:
        found = point.load()
    except (ImportError, AttributeError, SyntaxError) as error:
        raise Misconfigured(f"the plug-in {point.name!r} ({point.value}) does not load: {error}") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise Misconfigured(f"the plug-in {point.name!r} ({point.value}) is no subclass of {_named(base)}")
    if getattr(found, "module", None) != point.name:
        raise Misconfigured(
            f"the plug-in {point.name!r} ({point.value}) calls its module {getattr(found, 'module', None)!r}"
        )
    return found()


def _named(base: type[object]) -> str:
    """Return a class as its users import it: what is in a package's face has no further module."""
    return f"{base.__module__.partition('.')[0]}.{base.__name__}"
