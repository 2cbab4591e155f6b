"""Secrets that a campaign plants, and the search for them in what people may read."""

from __future__ import annotations

import base64
import json
import random
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

TO_RUN_AGAIN = frozenset({"database jobs.document", "database jobs.callback_url"})
"""Where the query of a URL stands as it was published: without it the job could neither run nor call back."""
KINDS = ("the log ", "the metrics ", "the name ", "an event ", "the headers ", "database jobs.", "database job_logs.")
"""How the places that are searched begin; a campaign has some of each."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that must be nowhere but in `allowed` places, and what it is."""

    name: str
    text: str
    allowed: frozenset[str] = frozenset()

    @property
    def spellings(self) -> tuple[bytes, ...]:
        """Return the text as bytes, and as a header would carry it."""
        return self.text.encode(), base64.b64encode(f"x-access-token:{self.text}".encode())


def of_jobs(seed: int) -> dict[str, Secret]:
    """Return what is planted in the jobs of a campaign, by its place in them."""
    dice = random.Random(f"secrets of {seed}")
    places = {"userinfo": (), "git user": (), "field": (), "git query": TO_RUN_AGAIN, "callback": TO_RUN_AGAIN}
    return {name: Secret(name, dice.randbytes(12).hex(), frozenset(allowed)) for name, allowed in places.items()}


def of_services(real: dict[str, str]) -> list[Secret]:
    """Return the credentials of the private services, which workers have in their environment."""
    urls = ("WORKER_BROKER_URL", "WORKER_DATABASE_URL")
    found = [Secret(f"password in {name}", urlsplit(real[name]).password or "") for name in urls]
    found.append(Secret("AWS_SECRET_ACCESS_KEY", real["AWS_SECRET_ACCESS_KEY"]))
    assert all(len(secret.text) > 10 for secret in found), "a service without a password proves nothing"
    return found


def found_in(texts: Iterable[tuple[str, bytes]], secrets: Iterable[Secret]) -> list[str]:
    """Return in words where a secret stands that may not stand there; each place is named once."""
    wanted = [(secret, spelling) for secret in secrets for spelling in secret.spellings]
    places = {
        f"the {secret.name} stands in {place}"
        for place, content in texts
        for secret, spelling in wanted
        if spelling in content and place not in secret.allowed
    }
    return sorted(places)


def unseen(texts: Iterable[tuple[str, bytes]], secrets: Iterable[Secret]) -> list[str]:
    """Return in words what a search that sees would have found: a kind of place, or a secret where it may stand."""
    listed = list(texts)
    gaps = [f"nothing was read of {kind}" for kind in KINDS if not any(place.startswith(kind) for place, _ in listed)]
    for secret in secrets:
        seen = any(secret.spellings[0] in text for place, text in listed if place in secret.allowed)
        gaps += [f"the {secret.name} was not found where it must stand"] if secret.allowed and not seen else []
    return gaps


def content_of(value: Any) -> bytes:
    """Return what a column's value says; what is stored compressed is read uncompressed."""
    if not isinstance(value, bytes):
        return json.dumps(value, default=str, ensure_ascii=False).encode()
    try:
        return zlib.decompress(value)
    except zlib.error:
        return value
