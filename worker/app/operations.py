"""The choice of where commands work: on the database and the broker, or on the server that LEVERET_SERVER names."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from worker.app.control import checked, control, modules, sqlite_file
from worker.app.direct.looks import DirectLooks
from worker.control.query import LookControl
from worker.settings import load
from worker.settings.client import load_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from worker.adapters.sql.lookups import SqlLookups
    from worker.adapters.sql.quick import QuickLookups
    from worker.control.operations import DocumentOperations, LookOperations, Operations
    from worker.remote import Remote
    from worker.settings import Settings
    from worker.settings.client import ClientSettings


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


def lookup_stores(settings: Settings) -> QuickLookups | SqlLookups:
    """Return the part of the database that looks at jobs: quickly at one in an SQLite file."""
    # A command that goes over a server needs neither.
    url = settings.database_url.get_secret_value()
    if (file := sqlite_file(url)) is not None and "?" not in url:
        from worker.adapters.sql.quick import QuickLookups  # noqa: PLC0415

        return QuickLookups(file)
    from worker.adapters.sql.lookups import SqlLookups  # noqa: PLC0415

    return SqlLookups(url)


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
