"""Templates: stored, shown, tried, and made into jobs for sources."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from worker.control.errors import NotFound, Refused
from worker.control.intake.blueprint import Blueprint, Skip, clock_of
from worker.control.intake.compiler import compile_template
from worker.control.intake.shipped import VERSION, shipped_templates
from worker.control.intake.sources import Source, look_at
from worker.control.intake.template_check import check_template
from worker.control.submit import Submitted, submit
from worker.core.errors import IdReused, InvalidJob, Problem
from worker.core.hints import nearest
from worker.core.names import require_name
from worker.core.template import Origin, StoredTemplate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.control.resources import Control
    from worker.core.ports import BrokerAdmin
    from worker.core.template import OriginState
    from worker.registry import Registry

_DIGEST: Final = 24
SUBMIT: Final = "submit"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A job's message, made of a template for a source, and the values that the variables have in it."""

    template: str
    version: int
    source: str
    document: dict[str, Any]
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """Return the message's bytes."""
        return json.dumps(self.document).encode()


@dataclass(frozen=True, slots=True)
class Route:
    """The destination of jobs: a field that is None is left to the template or the job; `broker` is open."""

    lane: str | None = None
    priority: str | None = None
    broker: BrokerAdmin | None = None


ANYWHERE: Final = Route()


@dataclass(frozen=True, slots=True)
class Made:
    """A job that was made of a source."""

    source: str
    job_id: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A source of which no job was made, and why; `job_id` is the job that it was made into before."""

    source: str
    reason: str
    job_id: str | None = None


async def list_templates(control: Control) -> list[StoredTemplate]:
    """Return the newest version of each template by name; those that are shipped are version 0."""
    stored = {one.name: one for one in await control.stores.templates()}
    return sorted((dict(shipped_templates()) | stored).values(), key=lambda one: one.name)


async def get_template(control: Control, name: str, version: int | None = None) -> StoredTemplate:
    """Return a template, its newest version by default; NotFound names the nearest."""
    found = await control.stores.template(name, version) if version != VERSION else None
    if found is None and not version:
        found = shipped_templates().get(name)
    if found is not None:
        return found
    known = [one.name for one in await list_templates(control)]
    if version is not None and name in known:
        raise NotFound(f"the template {name!r} has no version {version}")
    hint = nearest(name, known) or "; `leveret templates list` lists them"
    raise NotFound(f"there is no template {name[:100]!r}{hint}")


def checked_template(registry: Registry, name: str, document: Any) -> Blueprint:
    """Return a template that could be stored; InvalidJob with every problem of it and of the jobs that it makes."""
    require_name(name)
    if not isinstance(document, dict):
        raise InvalidJob([Problem("", "a template is a JSON object")])
    blueprint = compile_template(name, 0, document)
    check_template(registry, blueprint)
    return blueprint


async def put_template(control: Control, name: str, document: Any) -> StoredTemplate:
    """Store the next version of a template; jobs that were made of an earlier one stay as they are."""
    checked_template(control.modules(), name, document)
    return await control.stores.put_template(name, document)


async def delete_template(control: Control, name: str) -> None:
    """Delete a template; one that is shipped is itself again. NotFound when none is stored."""
    if not await control.stores.delete_template(name):
        if name in shipped_templates():
            raise Refused(f"the template {name} is shipped: it can be replaced, and not deleted")
        raise NotFound(f"there is no template {name[:100]!r}")


async def blueprint_of(control: Control, name: str, version: int | None = None) -> Blueprint:
    """Return a stored template, ready to be filled."""
    stored = await get_template(control, name, version)
    return compile_template(stored.name, stored.version, stored.document)


async def render(
    control: Control,
    template: str | Blueprint,
    source: str | Source | None = None,
    variables: Mapping[str, str] | None = None,
    *,
    moment: datetime | None = None,
) -> Rendered | Skip:
    """Return the job that a template makes of a source, or why it makes none. Nothing is stored or published.

    `source` is a URI, or what is known of it already. InvalidJob names what is missing or wrong, and what the errors of
    the storage are, they are raised as they are.
    """
    blueprint = template if isinstance(template, Blueprint) else await blueprint_of(control, template)
    return await _render(control, blueprint, await _source(control, blueprint, source), dict(variables or {}), moment)


async def tried_template(control: Control, name: str, document: Any = None) -> Blueprint:
    """Return the template that is tried: a document that is not stored, or what is stored under this name."""
    if document is None:
        return await blueprint_of(control, name)
    return checked_template(control.modules(), name, document)


async def submit_template(
    control: Control,
    template: str | Blueprint,
    source: str | Source | None = None,
    variables: Mapping[str, str] | None = None,
    *,
    asked_by: str = SUBMIT,
    again: bool = False,
    fingerprint: str | None = None,
    route: Route = ANYWHERE,
) -> Made | Skipped:
    """Return the job that was submitted, or why none was: the source was done before, conforms, or is not meant.

    What a source is says its fingerprint, which `fingerprint` replaces where the content is not a file's (a commit).
    A source that nobody can look at from here, and that has none, is never known again. `again` makes a job all the
    same. Two who submit the same source at once make one job.
    """
    blueprint = template if isinstance(template, Blueprint) else await blueprint_of(control, template)
    found = await _source(control, blueprint, source)
    given = dict(variables or {})
    mark = fingerprint or (found.fingerprint if found else None)
    job_id = made_id(blueprint.name, mark, given) if mark else ""
    uri = found.uri if found else ""
    if job_id and not again:
        known = await control.stores.origins(blueprint.name, [mark or ""])
        if (done := done_before(known, job_id, uri)) is not None:
            return done
    rendered = await _render(control, blueprint, found, given, None)
    if isinstance(rendered, Skip):
        return Skipped(uri, rendered.reason)
    own = f"{job_id}.{uuid.uuid4().hex[:6]}" if job_id and again else job_id
    own = own or f"{blueprint.name}-{uuid.uuid4().hex[:_DIGEST]}"
    return await _submit(control, rendered, found, own, mark or "", asked_by, route)


async def _submit(
    control: Control,
    rendered: Rendered,
    source: Source | None,
    job_id: str,
    fingerprint: str,
    asked_by: str,
    route: Route,
) -> Made | Skipped:
    origin = Origin(
        job_id=job_id,
        template=rendered.template,
        version=rendered.version,
        source=rendered.source,
        fingerprint=fingerprint,
        source_bytes=source.bytes if source else 0,
        asked_by=asked_by,
    )
    try:
        done: Submitted = await submit(
            control, rendered.body, lane=route.lane, priority=route.priority, job_id=job_id, broker=route.broker
        )
    except IdReused:
        # Another caller submitted it first, or was killed before its note was written.
        await control.stores.note_origins([origin])
        return Skipped(rendered.source, f"it is made into the job {job_id} already", job_id)
    await control.stores.note_origins([origin])
    return Made(rendered.source, done.record.job_id, done.warnings)


def made_id(template: str, fingerprint: str, variables: Mapping[str, str]) -> str:
    """Return the id of the job that a template makes of a source with these given values: the same one each time."""
    key = json.dumps([template, fingerprint, sorted(variables.items())]).encode()
    return f"{template}-{hashlib.sha256(key).hexdigest()[:_DIGEST]}"


def done_before(known: Sequence[OriginState], job_id: str, uri: str) -> Skipped | None:
    """Return why a source is not made into the job `job_id` again; None when it never was."""
    for one in known:
        if one.origin.job_id == job_id or one.origin.job_id.startswith(f"{job_id}."):
            return Skipped(uri, _reason(one, uri), one.origin.job_id)
    return None


def _reason(known: OriginState, uri: str) -> str:
    job_id = known.origin.job_id
    elsewhere = f", from {known.origin.source}" if known.origin.source != uri else ""
    match known.state:
        case "completed" | "gone":
            return f"it is done: the job {job_id}, with version {known.origin.version}{elsewhere}"
        case "dead" | "cancelled":
            return f"its job is {known.state}: `leveret retry {job_id}` runs it again{elsewhere}"
        case _:
            return f"its job is {known.state}: {job_id}{elsewhere}"


async def _source(control: Control, blueprint: Blueprint, source: str | Source | None) -> Source | None:
    if isinstance(source, Source):
        return source
    if source is None:
        if blueprint.needs_source:
            raise Refused(f"the template {blueprint.name} is made for a source: give one with source=nas://…")
        return None
    return await look_at(control, source)


async def _render(
    control: Control,
    blueprint: Blueprint,
    source: Source | None,
    given: dict[str, str],
    moment: datetime | None,
) -> Rendered | Skip:
    facts = dict(source.named_facts()) if source else {}
    if source is not None and blueprint.needs_probe:
        facts |= await source.facts(control, decoded=blueprint.needs_decode)
    clock = clock_of(moment or datetime.now().astimezone())
    variables = blueprint.variables(given, facts, clock)
    if (skip := blueprint.refusal(facts, variables)) is not None:
        return skip
    document = blueprint.fill(facts, variables, clock)
    if document.get("tasks") == []:
        return Skip("no task of the template is for such a source")
    return Rendered(blueprint.name, blueprint.version, source.uri if source else "", document, variables)
