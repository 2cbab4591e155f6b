"""The check of a template: it is filled for sources of every kind, and each job is judged as messages are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from worker.control.validate import judge
from worker.core.errors import InvalidJob, Problem
from worker.core.message.dialects import decode
from worker.media.conditions import FACTS, Kind, Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.control.intake.blueprint import Blueprint
    from worker.core.job import Job
    from worker.core.template import Variable
    from worker.media.conditions import Condition
    from worker.registry import Registry

SAMPLE_ID: Final = "template-check"
_CLOCK: Final = {"date": "2026-01-31", "time": "12-00"}
_SOURCE: Final[Mapping[str, Value]] = {
    "source.uri": "nas://in/a film.mkv", "source.folder": "nas://in", "source.name": "a film.mkv",
    "source.stem": "a film", "source.suffix": ".mkv",
}  # fmt: skip
_FILM: Final[Mapping[str, Value]] = {
    "bytes": 4e9, "container": ("matroska", "webm"), "duration": 5400.0, "bitrate": 6e6, "chapters": 12.0,
    "video.count": 1.0, "video.codec": "h264", "video.width": 1920.0, "video.height": 1080.0,
    "video.short_side": 1080.0, "video.fps": 23.976, "video.bitrate": 5e6, "video.depth": 8.0, "video.hdr": False,
    "video.interlaced": False, "audio.count": 2.0, "audio.codec": "ac3", "audio.codecs": ("ac3", "aac"),
    "audio.languages": ("en", "de"), "audio.channels": 6.0, "audio.loudness": -20.0, "subtitles.count": 1.0,
    "subtitles.codecs": ("subrip",), "subtitles.languages": ("en",), "subtitles.forced": False,
}  # fmt: skip
_HDR: Final[Mapping[str, Value]] = {
    "video.codec": "hevc", "video.width": 3840.0, "video.height": 2160.0, "video.short_side": 2160.0,
    "video.depth": 10.0, "video.hdr": True,
}  # fmt: skip
_OLD: Final[Mapping[str, Value]] = {
    "video.codec": "mpeg2video", "video.width": 768.0, "video.height": 576.0, "video.short_side": 576.0,
    "video.interlaced": True, "audio.count": 1.0, "audio.channels": 2.0, "subtitles.count": 0.0,
    "subtitles.codecs": (), "subtitles.languages": (),
}  # fmt: skip
_SOUND: Final = {name: value for name, value in _FILM.items() if not name.startswith(("video.", "subtitles."))}
SAMPLES: Final[tuple[Mapping[str, Value], ...]] = (
    {**_SOURCE, **_FILM},
    {**_SOURCE, **_FILM, **_HDR},
    {**_SOURCE, **_FILM, **_OLD},
    {**_SOURCE, **_SOUND, "video.count": 0.0, "subtitles.count": 0.0},
)
"""Sources of every kind: a film, one in HDR, an interlaced one, and sound alone."""
_STRANGER: Final = "zq7/zq"
"""A value that is found again in a path, should it get into one."""


def check_template(registry: Registry, blueprint: Blueprint) -> None:
    """Return if every job that the template makes would be taken; InvalidJob with what is wrong with them.

    Each condition is kept once at least, also one that no sample fulfils.
    """
    problems: dict[Problem, None] = {}
    uncovered = set(_conditions_in(blueprint.document.job))
    fitting = [facts for facts in SAMPLES if _fits(blueprint, facts)] or [SAMPLES[0]]
    for facts in fitting:
        kept: set[str] = set()
        problems |= dict.fromkeys(_problems(registry, blueprint, facts, kept=kept))
        uncovered -= kept
    for text in sorted(uncovered):
        problems |= dict.fromkeys(_problems(registry, blueprint, fitting[0], forced=text))
    if not problems:
        problems = dict.fromkeys(_strangers(registry, blueprint, fitting[0]))
    if problems:
        raise InvalidJob(problems)


def _fits(blueprint: Blueprint, facts: Mapping[str, Value]) -> bool:
    when = blueprint.document.when
    try:
        known = {**facts, **_typed_facts(blueprint, facts)}
    except InvalidJob:
        return False
    return when is None or blueprint.conditions[when].holds(known)


def _typed_facts(blueprint: Blueprint, facts: Mapping[str, Value]) -> Mapping[str, Value]:
    values = blueprint.variables(_examples(blueprint), facts, _CLOCK)
    kinds = blueprint.document.variables
    return {name: float(value) if kinds[name].kind == "number" else value for name, value in values.items()}


def _examples(blueprint: Blueprint) -> dict[str, str]:
    """Return values for the variables that somebody must choose."""
    return {
        name: _example(variable)
        for name, variable in blueprint.document.variables.items()
        if variable.example is not None or variable.default is None
    }


def _example(variable: Variable) -> str:
    if variable.example is not None:
        return variable.example
    if variable.choices:
        return variable.choices[0]
    return {"number": "1", "folder": "nas://example"}.get(variable.kind, "example")


def _problems(
    registry: Registry,
    blueprint: Blueprint,
    facts: Mapping[str, Value],
    *,
    kept: set[str] | None = None,
    forced: str | None = None,
) -> Iterator[Problem]:
    def keeps(condition: Condition, known: Mapping[str, Value]) -> bool:
        holds = condition.text == forced or condition.holds(known)
        if holds and kept is not None:
            kept.add(condition.text)
        return holds

    # A text that names what this sample lacks is a matter of its conditions: it gets a neutral value.
    whole = {name: _neutral(name) for name in FACTS} | dict(facts)
    try:
        document = blueprint.fill(whole, blueprint.variables(_examples(blueprint), facts, _CLOCK), _CLOCK, keeps)
    except InvalidJob as error:
        yield from error.problems
        return
    if document.get("tasks") == []:
        return
    try:
        job = decode(json.dumps(document).encode(), SAMPLE_ID)
        found = judge(job, registry).problems
    except InvalidJob as error:
        yield from (Problem(_in_job(one.path), one.message) for one in error.problems)
        return
    yield from (Problem(_in_job(one.path), one.message) for one in found)
    if job.job_id != SAMPLE_ID:
        yield Problem("job", "is a message with an id of its own: write it as tasks")


def _neutral(name: str) -> Value:
    match FACTS[name].kind:
        case Kind.NUMBER:
            return 1.0
        case Kind.FLAG:
            return False
        case Kind.TEXTS:
            return ()
        case Kind.TEXT:
            return "x"


def _in_job(path: str) -> str:
    return f"job.{path}" if path else "job"


def _strangers(registry: Registry, blueprint: Blueprint, facts: Mapping[str, Value]) -> Iterator[Problem]:
    """Yield the variables whose texts could choose a folder: a title with a `/` in it must not.

    Those that must be one of some values, numbers and names cannot.
    """
    for name, variable in blueprint.document.variables.items():
        if variable.kind != "text" or variable.choices:
            continue
        values = blueprint.variables(_examples(blueprint), facts, _CLOCK) | {name: _STRANGER}
        whole = {key: _neutral(key) for key in FACTS} | dict(facts)
        document = blueprint.fill(whole, values, _CLOCK, lambda *_: True)
        for path, place in _places(registry, document):
            if _STRANGER in place:
                how = f"make its kind `name`, or write {{{{ {name}|name }}}}"
                yield Problem(f"variables.{name}", f"is a text, and is part of the path {_in_job(path)}: {how}")
                break


def _places(registry: Registry, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (where it is, the place) of everything that a message reads, writes or calls."""
    for key in ("destination", "callback_url"):
        if isinstance(document.get(key), str):
            yield key, document[key]
    try:
        job: Job = decode(json.dumps(document).encode(), SAMPLE_ID)
    except InvalidJob:
        return
    for spec in job.tasks:
        task, params = _parse_spec(registry, spec)
        if task is None:
            # The task refuses the data with this value: then none of its texts counts as harmless.
            yield from ((spec.path, text) for text in _texts(spec.data))
            continue
        files = task.files(params)
        for use in (*files.reads, *files.writes, *files.removes):
            yield f"{spec.path}.{use.path}" if use.path else spec.path, use.location


def _parse_spec(registry: Registry, spec: Any) -> tuple[Any, Any]:
    try:
        return registry.parse(spec)
    except InvalidJob:
        return registry.fields_alone(spec) or (None, None)


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            yield from (text for item in value.values() for text in _texts(item))
        case list():
            yield from (text for item in value for text in _texts(item))


def _conditions_in(value: object, *, listed: bool = False) -> Iterator[str]:
    match value:
        case dict():
            if listed and isinstance(value.get("when"), str):
                yield value["when"]
            yield from (text for item in value.values() for text in _conditions_in(item))
        case list():
            yield from (text for item in value for text in _conditions_in(item, listed=True))
