"""The five accepted message shapes, each decoded into one `Job`.

Which dialect a message is, is decided by its keys, never by trial and error; what is wrong with its
envelope and the shape of its tasks is in one InvalidJob with the path of every offending field.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from worker.core.errors import InvalidJob, Problem
from worker.core.hints import MAX_HINTS, nearest
from worker.core.job import (
    ID_PATTERN,
    MAX_TASKS,
    Envelope,
    Job,
    JobMessage,
    PartOf,
    TaskSpec,
    id_problem,
)
from worker.core.message.predecessors import assigned_job, gource_job, render_job, transcode_job
from worker.core.message.wire import parse, problems_of, validated

if TYPE_CHECKING:
    from collections.abc import Mapping

ENVELOPE_KEYS = frozenset(Envelope.model_fields) | {"job_name"}


def decode(body: bytes, message_id: str | None = None) -> Job:
    """Return the job that `body` describes; without an id of its own it takes `message_id`.

    Raises InvalidJob with every problem; a message that has neither id is no error here: its job's id is
    empty, and the executor adopts it (see broker.md).
    """
    value = parse(body)
    if not isinstance(value, dict):
        kind = "a list" if isinstance(value, list) else "null" if value is None else f"a {type(value).__name__}"
        raise InvalidJob([Problem("", f"a job is a JSON object, not {kind}")])
    job = _decode_object(value, message_id or "")
    if job.job_id and not re.fullmatch(ID_PATTERN, job.job_id):
        raise InvalidJob([id_problem(job.job_id)])
    return job


def _decode_object(value: dict[str, Any], message_id: str) -> Job:
    if "assigned_job" in value:
        return assigned_job(value, message_id)
    if "renderType" in value:
        return render_job(value)
    if "type" in value and "tasks" not in value:
        return gource_job(value)
    if "input" in value and "outputs" in value:
        return transcode_job(value, message_id, "")
    if "tasks" not in value:
        return _flat(value, message_id)
    if _is_task_map(value["tasks"]):
        return _task_map(value, message_id)
    return _canonical(value, message_id)


def _job(envelope: Envelope, tasks: tuple[TaskSpec, ...], dialect: str, message_id: str) -> Job:
    return Job(
        job_id=envelope.job_id or message_id,
        title=envelope.job_title or (envelope.job_id or message_id),
        tasks=tasks,
        dialect=dialect,
        priority=envelope.priority,
        lane=envelope.lane,
        destination=envelope.destination,
        timeout=envelope.timeout,
        callback_url=envelope.callback_url,
        keep_log=envelope.keep_log,
    )


def _canonical(value: dict[str, Any], message_id: str) -> Job:
    # No field of the message: a fleet writes it for itself, and the database knows every part.
    part = validated(PartOf, value["part"], "part") if "part" in value else None
    message = validated(JobMessage, {key: item for key, item in value.items() if key != "part"})
    tasks = tuple(TaskSpec(task.module, task.data, f"tasks[{i}].data") for i, task in enumerate(message.tasks))
    return replace(_job(message, tasks, "canonical", message_id), part=part)


def _is_task_map(tasks: object) -> bool:
    """Return whether `tasks` is a list of objects of which none has a `module`."""
    return isinstance(tasks, list) and bool(tasks) and all(isinstance(t, dict) and "module" not in t for t in tasks)


def _task_map(value: dict[str, Any], message_id: str) -> Job:
    problems: list[Problem] = []
    specs: list[TaskSpec] = []
    for index, item in enumerate(value["tasks"][: MAX_TASKS + 1]):
        if len(item) != 1:
            problems.append(Problem(f"tasks[{index}]", f"has {len(item)} keys; a task has one, its module's name"))
            continue
        ((module, data),) = item.items()
        problems += _data_problems(data, f"tasks[{index}].{module}")
        specs.append(TaskSpec(module, data, f"tasks[{index}].{module}"))
    if len(value["tasks"]) > MAX_TASKS:
        problems.append(Problem("tasks", f"has {len(value['tasks'])} tasks; at most {MAX_TASKS} are accepted"))
    envelope = _envelope({key: item for key, item in value.items() if key != "tasks"}, problems)
    return _job(envelope, tuple(specs), "task map", message_id)


def _flat(value: dict[str, Any], message_id: str) -> Job:
    problems: list[Problem] = []
    modules = {key: data for key, data in value.items() if key not in ENVELOPE_KEYS}
    for module, data in modules.items():
        if len(problems) < MAX_HINTS:
            problems += _flat_problems(module, data)
    if not modules:
        problems.append(Problem("tasks", "is missing"))
    if len(modules) > MAX_TASKS:
        problems.append(Problem("", f"has {len(modules)} tasks; at most {MAX_TASKS} are accepted"))
    envelope = _envelope({key: item for key, item in value.items() if key in ENVELOPE_KEYS}, problems)
    specs = tuple(TaskSpec(module, data, module) for module, data in modules.items())
    return _job(envelope, specs, "flat", message_id)


def _flat_problems(module: str, data: object) -> list[Problem]:
    """Return why `module` cannot be a task; most often its author mistyped a field of the envelope."""
    if isinstance(data, dict):
        return []
    return [Problem(module[:100], f"unknown field{nearest(module, [*ENVELOPE_KEYS, 'tasks'])}")]


def _data_problems(data: object, path: str) -> list[Problem]:
    return [] if isinstance(data, dict) else [Problem(path, "a task's data is an object")]


def _envelope(value: Mapping[str, Any], problems: list[Problem]) -> Envelope:
    """Return the envelope, or raise InvalidJob with its problems and those found before."""
    try:
        envelope = Envelope.model_validate(value)
    except ValidationError as error:
        raise InvalidJob([*problems_of(error, "", Envelope, ["tasks"]), *problems]) from error
    if problems:
        raise InvalidJob(problems)
    return envelope
