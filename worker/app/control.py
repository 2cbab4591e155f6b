"""Settings become what the use cases of `worker.control` work on."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from worker.control.resources import Control
from worker.core.errors import Misconfigured, ToolMissing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from worker.adapters.sql.base import SqlBase
    from worker.adapters.sql.quick import QuickLookups
    from worker.control.intake.library import Library
    from worker.core.ports import BrokerAdmin, Repository
    from worker.registry import Registry
    from worker.settings import Settings

Stores = TypeVar("Stores", bound="SqlBase | QuickLookups | Repository")

FORMER_DATABASE: Final = Path(".local/leveret.db")
"""The earlier default of the database: in the folder where a command was typed."""


@asynccontextmanager
async def control(settings: Settings) -> AsyncIterator[Control]:
    """Yield the database, the way to the broker and the modules; Misconfigured when the schema is not the newest.

    Misconfigured, too, when there is no file of an SQLite database, for only `python -m infra provision` makes one,
    and when LEVERET_SERVER is set: whoever names a server does not mean the database of this host.
    """
    if settings.server:
        raise Misconfigured("LEVERET_SERVER is set, and this command does not go over a server: unset it")
    async with checked(settings, repository) as stores:
        yield assembled(settings, stores)


@asynccontextmanager
async def checked(settings: Settings, make: Callable[[Settings], Stores]) -> AsyncIterator[Stores]:
    """Yield the stores that `make` returns, whose schema is the newest; Misconfigured as `control` raises it."""
    refuse_missing_sqlite(settings)
    stores = make(settings)
    try:
        await stores.check()
        yield stores
    finally:
        await stores.close()


def assembled(settings: Settings, stores: Repository) -> Control:
    """Return what the use cases work on, over a database that is open."""
    return Control(
        stores,
        partial(broker, settings),
        modules,
        settings.offline_seconds,
        settings.retry_delays,
        cache(partial(library, settings)),
        partial(refused_receiver, settings),
    )


async def refused_receiver(settings: Settings, url: str) -> str | None:
    """Return why a worker with these settings would not call `url` back; None also where the name cannot be asked."""
    # It takes 4 MB that a job without a callback does not need.
    from worker.adapters.storage.web.client import refusal_of  # noqa: PLC0415

    return await refusal_of(url, allow_private=settings.allow_private_addresses)


def library(settings: Settings) -> Library:
    """Return the sources that this host can look at."""
    # Programs are looked for, and who uses S3 imports boto3.
    from worker.app.components import runner, tools  # noqa: PLC0415
    from worker.app.serving import readers  # noqa: PLC0415
    from worker.control.intake.library import Library  # noqa: PLC0415 - it probes, which looking at a job does not

    programs = tools(settings)

    def tool(name: str) -> str:
        if name not in programs:
            raise ToolMissing(f"{name} is not installed here, so sources cannot be examined")
        return programs[name]

    found = {scheme: reader for reader in readers(settings) for scheme in reader.schemes}
    return Library(found, settings.path_map, runner(settings), tool, settings.scratch / "look")


def repository(settings: Settings) -> Repository:
    """Return the database."""
    # Looking at a job does without most of its stores.
    from worker.adapters.sql import SqlRepository  # noqa: PLC0415

    return SqlRepository(settings.database_url.get_secret_value())


def broker(settings: Settings) -> BrokerAdmin:
    """Return the broker as operators use it, not connected yet."""
    # 2 MB and a tenth of a second that looking at the database does not need.
    from worker.adapters.rabbitmq.admin import RabbitAdmin  # noqa: PLC0415

    return RabbitAdmin(settings.broker_url.get_secret_value())


@cache
def modules() -> Registry:
    """Return the installed modules, good for judging jobs."""
    # Every plug-in and what it needs: a third of a second.
    from worker.app.components import registry  # noqa: PLC0415

    return registry()


def refuse_missing_sqlite(settings: Settings) -> None:
    """Raise Misconfigured when the database is a file that is not there: a command makes none."""
    path = sqlite_file(settings.database_url.get_secret_value())
    if path is not None and not path.exists():
        default = "database_url" not in settings.model_fields_set
        doubt = "WORKER_DATABASE_URL is not set; set it, or" if default else "is WORKER_DATABASE_URL right?"
        advice = f"{doubt} `python -m infra provision` makes one"
        if default and FORMER_DATABASE.exists():
            advice = f"that of an older version is here: set WORKER_DATABASE_URL=sqlite:///{FORMER_DATABASE.absolute()}"
        raise Misconfigured(f"there is no database at {path.absolute()}: {advice}")


def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite database; None of any other, and of one in memory."""
    scheme, _, name = url.partition(":///")
    file = name.partition("?")[0]
    return Path(file) if scheme == "sqlite" and file and file != ":memory:" else None
