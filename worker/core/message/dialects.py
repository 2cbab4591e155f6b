"""The five accepted message shapes, each decoded into one `Job`.

Which dialect a message is, is decided by its keys, never by trial and error; what is wrong with its
envelope and the shape of its tasks is in one InvalidJob with the path of every offending field.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AliasChoices, Field, StringConstraints, ValidationError

from worker.core.errors import InvalidJob, Problem
from worker.core.hints import MAX_HINTS, nearest
from worker.core.job import (
    ID_PATTERN,
    MAX_TASKS,
    Envelope,
    Job,
    JobId,
    JobMessage,
    Model,
    PartOf,
    Place,
    TaskSpec,
    id_problem,
)
from worker.core.message.wire import parse, problems_of

if TYPE_CHECKING:
    from collections.abc import Mapping

M = TypeVar("M", bound=Model)
ENVELOPE_KEYS = frozenset(Envelope.model_fields) | {"job_name"}


class GourceMessage(Model):
    """`type: "gource"`: one repository, options in the command line's spelling."""

    type: Literal["gource"] = Field(description="Marks the gource dialect.")
    repo_url: str = Field(
        validation_alias=AliasChoices("repoURL", "repo_url"), max_length=2048, description="The repository to draw."
    )
    video_id: JobId = Field(validation_alias=AliasChoices("videoId", "video_id"), description="The job's id.")
    gource: dict[str, Any] = Field(
        default_factory=dict, description="Options in gource's own spelling: `--seconds-per-day`, `resolution`, …."
    )


class RenderOptions(Model):
    """The options of the picture in a GOURCE message."""

    start: float = Field(0.0, ge=0, le=1, description="Where in the history the film begins, 0 to 1.")
    stop: float = Field(1.0, ge=0, le=1, description="Where in the history the film ends, 0 to 1.")
    key: bool | None = Field(None, description="Whether the kinds of files are listed in the picture.")
    elasticity: float | None = Field(None, description="How springy the tree is.")
    bloom_multiplier: float | None = Field(
        None,
        validation_alias=AliasChoices("bloomMultiplier", "bloom_multiplier"),
        description="How far the glow reaches.",
    )
    bloom_intensity: float | None = Field(
        None,
        validation_alias=AliasChoices("bloomIntensity", "bloom_intensity"),
        description="How bright the glow is.",
    )
    title: str | None = Field(None, max_length=1000, description="A text in the picture, and the job's title.")


class RenderMessage(Model):
    """`renderType: "GOURCE"`: one repository, options in camel case, perhaps a token."""

    render_type: Literal["GOURCE"] = Field(
        validation_alias=AliasChoices("renderType", "render_type"), description="Marks the GOURCE dialect."
    )
    repo_url: str = Field(
        validation_alias=AliasChoices("repoURL", "repo_url"), max_length=2048, description="The repository to draw."
    )
    video_id: JobId = Field(validation_alias=AliasChoices("videoId", "video_id"), description="The job's id.")
    token: Annotated[str, StringConstraints(max_length=4096)] | None = Field(
        None, description="The token of a private repository; no record keeps it."
    )
    render_options: RenderOptions = Field(
        RenderOptions(),
        validation_alias=AliasChoices("renderOptions", "render_options"),
        description="What the picture shows.",
    )


class TranscodeInput(Model):
    """The address of the film."""

    source_url: Place = Field(description="The source; a relative path is relative to the NAS root.")
    format: Annotated[str, StringConstraints(max_length=32)] | None = Field(
        None, description="The source's container, as the publisher knows it."
    )


class TranscodeOutput(Model):
    """One rendition, as the transcode dialect says it; its audio overrides go to the hls module as they are."""

    resolution: Annotated[str, StringConstraints(max_length=32)] = Field(description="The picture's size: `1280x720`.")
    bitrate: str | int | None = Field(None, description="The video's bit rate: `2800k`, or bits a second.")
    codec: Annotated[str, StringConstraints(max_length=64)] | None = Field(None, description="The video's codec.")
    dest_path: Place = Field(description="The folder of this rendition; a relative path is relative to the NAS root.")
    audio_codec: Annotated[str, StringConstraints(max_length=64)] | None = Field(None, description="The sound's codec.")
    audio_bitrate: str | int | None = Field(None, description="The sound's bit rate: `128k`, or bits a second.")
    audio_channels: int | None = Field(None, ge=1, le=8, description="How many channels the sound has.")


class HlsSettings(Model):
    """The options of HLS in the transcode dialect."""

    master_playlist_name: Annotated[str, StringConstraints(max_length=200)] = Field(
        "master.m3u8", description="The multivariant playlist's file name."
    )
    segment_time: float = Field(6, ge=1, le=60, description="The length of a segment, seconds.")


class TranscodeMessage(Model):
    """The transcode dialect."""

    job_id: JobId | None = Field(None, description="The job's id; else the message's `message_id`.")
    movie_id: Annotated[str, StringConstraints(max_length=200)] | None = Field(
        None, description="The publisher's name of the film; kept in the record under `facts`."
    )
    input: TranscodeInput = Field(description="The source.")
    outputs: list[TranscodeOutput] = Field(min_length=1, max_length=20, description="The renditions.")
    output_base: Place | None = Field(
        None, description="The folder of the multivariant playlist; a relative path is relative to the NAS root."
    )
    hls_settings: HlsSettings = Field(HlsSettings(), description="How the HLS is cut and named.")


class AssignedMessage(Model):
    """A transcode message in the envelope of its predecessor's sync response."""

    ack: bool = Field(True, description="A field of the predecessor; read and ignored.")
    assigned_job: dict[str, Any] = Field(description="A transcode message.")


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
        inner = _validated(AssignedMessage, value).assigned_job
        return _transcode(inner, message_id, "assigned_job")
    if "renderType" in value:
        return _render(value)
    if "type" in value and "tasks" not in value:
        return _gource(value)
    if "input" in value and "outputs" in value:
        return _transcode(value, message_id, "")
    if "tasks" not in value:
        return _flat(value, message_id)
    if _is_task_map(value["tasks"]):
        return _task_map(value, message_id)
    return _canonical(value, message_id)


def _validated(model: type[M], value: object, prefix: str = "") -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InvalidJob(problems_of(error, prefix, model)) from error


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
    part = _validated(PartOf, value["part"], "part") if "part" in value else None
    try:
        message = JobMessage.model_validate({key: item for key, item in value.items() if key != "part"})
    except ValidationError as error:
        raise InvalidJob(problems_of(error, "", JobMessage)) from error
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


def _gource(value: dict[str, Any]) -> Job:
    message = _validated(GourceMessage, value)
    data = {"repo_url": message.repo_url} | message.gource
    return _visualized(message.video_id, data, "gource", str(message.gource.get("--title") or ""))


def _render(value: dict[str, Any]) -> Job:
    message = _validated(RenderMessage, value)
    options = message.render_options.model_dump(exclude_none=True)
    data = {"repo_url": message.repo_url} | options | ({"token": message.token} if message.token else {})
    return _visualized(message.video_id, data, "GOURCE", message.render_options.title or "")


def _visualized(job_id: str, data: dict[str, Any], dialect: str, title: str) -> Job:
    path = "gource" if dialect == "gource" else ""
    return Job(job_id, title[:500] or job_id, (TaskSpec("gource", data, path),), dialect)


def _transcode(value: Mapping[str, Any], message_id: str, prefix: str) -> Job:
    message = _validated(TranscodeMessage, value, prefix)
    renditions = [
        output.model_dump(exclude_none=True) | {"dest_path": _on_nas(output.dest_path)} for output in message.outputs
    ]
    data: dict[str, Any] = {
        "source": _on_nas(message.input.source_url),
        "renditions": renditions,
        "master_playlist_name": message.hls_settings.master_playlist_name,
        "segment_time": message.hls_settings.segment_time,
        "hw_fallback": True,
    }
    if message.input.format:
        data["format"] = message.input.format
    if message.output_base:
        data["output_base"] = _on_nas(message.output_base)
    job_id = message.job_id or message_id
    facts = {"movie_id": message.movie_id} if message.movie_id else {}
    return Job(job_id, message.movie_id or job_id, (TaskSpec("hls", data, prefix),), "transcode", facts=facts)


def _on_nas(path: str) -> str:
    """Return a transcode path as a location: what is relative there is relative to the NAS root."""
    return path if path.startswith("/") or "://" in path else f"nas://{path}"
