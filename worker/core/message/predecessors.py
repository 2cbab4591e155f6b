"""The messages of Leveret's predecessors, each made into a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AliasChoices, Field, StringConstraints

from worker.core.job import Job, JobId, Model, Place, TaskSpec
from worker.core.message.wire import validated

if TYPE_CHECKING:
    from collections.abc import Mapping


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


def gource_job(value: dict[str, Any]) -> Job:
    """Return the job of a `type: "gource"` message."""
    message = validated(GourceMessage, value)
    data = {"repo_url": message.repo_url} | message.gource
    return _visualized(message.video_id, data, "gource", str(message.gource.get("--title") or ""))


def render_job(value: dict[str, Any]) -> Job:
    """Return the job of a `renderType: "GOURCE"` message."""
    message = validated(RenderMessage, value)
    options = message.render_options.model_dump(exclude_none=True)
    data = {"repo_url": message.repo_url} | options | ({"token": message.token} if message.token else {})
    return _visualized(message.video_id, data, "GOURCE", message.render_options.title or "")


def _visualized(job_id: str, data: dict[str, Any], dialect: str, title: str) -> Job:
    path = "gource" if dialect == "gource" else ""
    return Job(job_id, title[:500] or job_id, (TaskSpec("gource", data, path),), dialect)


def assigned_job(value: Mapping[str, Any], message_id: str) -> Job:
    """Return the job of a transcode message in its predecessor's envelope."""
    inner = validated(AssignedMessage, value).assigned_job
    return transcode_job(inner, message_id, "assigned_job")


def transcode_job(value: Mapping[str, Any], message_id: str, prefix: str) -> Job:
    """Return the job of a transcode message; `prefix` is its own path, which stands before those of its faults."""
    message = validated(TranscodeMessage, value, prefix)
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
