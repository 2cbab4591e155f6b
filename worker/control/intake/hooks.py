"""Hooks: stored, shown, and called by other programs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Any, Final

import structlog
from pydantic import ValidationError

from worker.control.errors import NotFound, Refused
from worker.control.intake.templates import Made, blueprint_of, submit_template
from worker.core.errors import InvalidJob, Permanent, Problem
from worker.core.hints import nearest
from worker.core.hook import Hook, HookCall, HookRequest, StoredHook, request_of
from worker.core.message.wire import parse, problems_of
from worker.core.names import is_name, require_name
from worker.core.signature import HEADER, is_signed, is_signed_by_github

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.control.intake.blueprint import Blueprint
    from worker.control.resources import Control

LOOKED_AT: Final = 20

log = structlog.get_logger(__name__)


class NotGenuine(Refused):
    """A call without the secret of a hook; whether there is such a hook is not said."""


async def list_hooks(control: Control) -> list[StoredHook]:
    """Return the hooks by name."""
    return await control.stores.hooks()


async def get_hook(control: Control, name: str) -> StoredHook:
    """Return one hook; NotFound names the nearest."""
    found = await control.stores.hook(name)
    if found is not None:
        return found
    known = [one.name for one in await control.stores.hooks()]
    raise NotFound(f"there is no hook {name[:100]!r}{nearest(name, known)}")


def new_secret() -> str:
    """Return a secret that nobody can guess."""
    return secrets.token_urlsafe(32)


async def put_hook(control: Control, name: str, document: Any) -> Hook:
    """Store or replace a hook; where `…` stands for the secret, the stored one stays. InvalidJob, NotFound."""
    require_name(name)
    if isinstance(document, dict) and document.get("secret") == "…" and (known := await control.stores.hook(name)):
        document = document | {"secret": known.document["secret"]}
    try:
        hook = Hook.model_validate(document)
    except ValidationError as error:
        raise InvalidJob(problems_of(error, "", Hook)) from error
    variables = (await blueprint_of(control, hook.template)).document.variables
    if strange := [one for one in (*hook.variables, *hook.fields) if one not in variables]:
        raise InvalidJob(
            Problem(one, f"{hook.template} has no such variable{nearest(one, variables)}") for one in strange
        )
    await control.stores.put_hook(name, hook)
    return hook


async def delete_hook(control: Control, name: str) -> None:
    """Delete one; NotFound when there is none."""
    if not await control.stores.delete_hook(name):
        raise NotFound(f"there is no hook {name[:100]!r}")


async def list_calls(control: Control, name: str, limit: int = 100) -> list[HookCall]:
    """Return the calls of a hook, the newest first."""
    await get_hook(control, name)
    return await control.stores.hook_calls(name, limit)


async def receive(control: Control, name: str, headers: Mapping[str, str], body: bytes, now: float) -> HookCall:
    """Return what came of a call; NotGenuine before anything of its body is read, InvalidJob for a body that is none.

    The same call again, whoever sends it, makes no second job: its id follows from what was signed.
    """
    stored = await control.stores.hook(name) if is_name(name) else None
    hook = stored.hook if stored is not None else None
    if hook is None or not _is_genuine(hook, headers, body, now):
        raise NotGenuine("there is no such hook, or the call is not signed with its secret")
    digest = hashlib.sha256(body + headers.get(HEADER.lower(), "").encode()).hexdigest()
    event = headers.get("x-github-event", "")[:100] if hook.kind == "github" else ""
    blueprint = await blueprint_of(control, hook.template)
    asked = request_of(hook, event, parse(body), frozenset(blueprint.document.variables))
    call = HookCall(hook=name, digest=digest, event=asked.event[:100], outcome="", subject=asked.subject[:500])
    if asked.ignored is not None or not hook.enabled:
        call = call.model_copy(update={"outcome": f"ignored: {asked.ignored or 'the hook is off'}"})
    else:
        call = await _answer(control, call, asked, blueprint, hook)
    await control.stores.note_call(call)
    log.info("hook_called", hook=name, call=call.event, outcome=call.outcome, job_id=call.job_id)
    return call


async def _answer(control: Control, call: HookCall, asked: HookRequest, blueprint: Blueprint, hook: Hook) -> HookCall:
    # A template that takes nothing of the call makes one film of several repositories, whichever was pushed to.
    alike = not blueprint.needs_source and asked.variables == hook.variables
    waiting = await _waiting_job(control, call, blueprint, None if alike else call.subject)
    if waiting is not None:
        reason = f"waits: the job {waiting} about {call.subject} has not begun, and will see this push too"
        return call.model_copy(update={"outcome": reason, "job_id": waiting})
    content = hashlib.sha256((asked.content or call.digest).encode(errors="replace")).hexdigest()
    source = asked.source if blueprint.needs_source else None
    # A file is known by its own content; a repository and what is on the web by the call.
    known = source is not None and asked.content is None and not source.startswith(("https://", "http://"))
    try:
        done = await submit_template(
            control,
            blueprint,
            source,
            asked.variables,
            asked_by=f"hook {call.hook}",
            fingerprint=None if known else content,
        )
    except Permanent as error:
        await control.stores.note_call(call.model_copy(update={"outcome": f"failed: {str(error)[:500]}"}))
        raise
    if isinstance(done, Made):
        return call.model_copy(update={"outcome": "submitted", "job_id": done.job_id})
    return call.model_copy(update={"outcome": f"known: {done.reason[:500]}", "job_id": done.job_id})


async def _waiting_job(control: Control, call: HookCall, blueprint: Blueprint, subject: str | None) -> str | None:
    """Return a job about the same that has not begun: it clones what is there when it begins.

    None as subject: what the call is about makes no difference to the job.
    """
    if not call.subject or "commit" in blueprint.document.variables:
        return None
    for before in await control.stores.hook_calls(call.hook, LOOKED_AT, subject):
        if before.digest == call.digest or before.job_id is None:
            continue
        record = await control.stores.job(before.job_id)
        # Only the newest that made a job can still wait.
        return before.job_id if record is not None and record.state == "queued" and not record.attempts else None
    return None


def _is_genuine(hook: Hook, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """Return whether the caller knows the secret; header names are in small letters."""
    match hook.kind:
        case "github":
            return is_signed_by_github(hook.secret, headers.get("x-hub-signature-256", ""), body)
        case "arr":
            return hmac.compare_digest(_password(headers.get("authorization", "")), hook.secret.encode())
        case _:
            return is_signed(hook.secret, headers.get(HEADER.lower(), ""), body, now)


def _password(header: str) -> bytes:
    """Return the password of a Basic authorization; empty where there is none."""
    kind, _, value = header.partition(" ")
    if kind.lower() != "basic":
        return b""
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""
