"""The command `doctor`: what is well here, or on the server that LEVERET_SERVER names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.app.operations import remote
from worker.control.doctor import findings
from worker.core.errors import LeveretError, Misconfigured
from worker.core.finding import NamedFinding
from worker.settings import load, unknown_variables
from worker.settings.client import load_client

if TYPE_CHECKING:
    from worker.core.finding import Health

CORRECT: Final = "correct it in the environment or .env"


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
        name="settings", status=status, fact=strange or "every variable that is set is valid", advice=advice
    )
    return [own, *await findings(found)]


def _wrong(name: str, error: LeveretError) -> NamedFinding:
    """Return the only finding where the settings are wrong or the server is away: nothing else can be looked at."""
    return NamedFinding(name=name, status="error", fact=str(error), advice=CORRECT)
