"""The choice of where commands work: on the database and the broker, or on the server that LEVERET_SERVER names."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from worker.app.control import checked, control, modules
from worker.app.direct.looks import DirectLooks
from worker.control.doctor import findings
from worker.control.query import LookControl
from worker.core.errors import LeveretError, Misconfigured
from worker.core.finding import NamedFinding
from worker.settings import load, unknown_variables
from worker.settings.client import load_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from worker.adapters.sql.lookups import SqlLookups
    from worker.control.operations import DocumentOperations, LookOperations, Operations
    from worker.core.finding import Health
    from worker.remote import Remote
    from worker.settings import Settings
    from worker.settings.client import ClientSettings

CORRECT: Final = "correct it in the environment or .env"


@asynccontextmanager
async def operations() -> AsyncIterator[Operations]:
    """Yield what the commands do, with the settings of this environment."""
    client = load_client()
    if client.server:
        async with remote(client) as server:
            yield server
        return
    # Looking at jobs does without the broker, what judges documents, and what sends notifications.
    from worker.app.direct.everything import Direct  # noqa: PLC0415

    settings = load()
    async with control(settings) as known:
        yield Direct(known, settings)


@asynccontextmanager
async def lookups() -> AsyncIterator[LookOperations]:
    """Yield what looks at jobs."""
    client = load_client()
    if client.server:
        async with remote(client) as server:
            yield server
        return
    settings = load()
    async with checked(settings, lookup_stores) as stores:
        yield DirectLooks(LookControl(stores, settings.offline_seconds))


def lookup_stores(settings: Settings) -> SqlLookups:
    """Return the part of the database that looks at jobs."""
    # A command that goes over a server needs none of it.
    from worker.adapters.sql.lookups import SqlLookups  # noqa: PLC0415

    return SqlLookups(settings.database_url.get_secret_value())


@asynccontextmanager
async def documents() -> AsyncIterator[DocumentOperations]:
    """Yield what judges messages: the modules that are installed here, or those of the server."""
    client = load_client()
    if client.server:
        async with remote(client) as server:
            yield server
        return
    from worker.app.direct.documents import DirectDocuments  # noqa: PLC0415 - as above

    yield DirectDocuments(modules)


def remote(client: ClientSettings) -> AbstractAsyncContextManager[Remote]:
    """Return the way to the server, not connected yet."""
    # Only who goes over a server pays for the tenth of a second of an HTTP client.
    from worker.remote import connected  # noqa: PLC0415

    return connected(client.server, client.token.get_secret_value())


async def doctor(*, prove: bool = False) -> list[NamedFinding]:
    """Return what is well and what is not: on this host, or on the server's."""
    try:
        client = load_client()
        if client.server:
            async with remote(client) as server:
                return await server.doctor(prove=prove)
        settings = load()
        # What looks at every tool and storage is imported by nobody else.
        from worker.app.doctor import checks  # noqa: PLC0415

        found = checks(settings, prove=prove)
    except Misconfigured as error:
        return [_wrong("settings", error)]
    except LeveretError as error:
        return [_wrong("server", error)]
    strange = "; ".join(unknown_variables())
    status: Health = "warning" if strange else "ok"
    advice = CORRECT if strange else ""
    own = NamedFinding(
        name="settings", status=status, fact=strange or "every variable that is set can be read", advice=advice
    )
    return [own, *await findings(found)]


def _wrong(name: str, error: LeveretError) -> NamedFinding:
    """Return the only finding where the settings are wrong or the server is away: nothing else can be looked at."""
    return NamedFinding(name=name, status="error", fact=str(error), advice=CORRECT)
