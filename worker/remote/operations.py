"""`Operations` over a server's API."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from worker import __version__
from worker.control.errors import Conflict, NotFound, Refused
from worker.control.fleet import FleetSnapshot
from worker.control.replay import Replayed, Republished
from worker.core.errors import BrokerUnavailable, Misconfigured
from worker.core.finding import Finding, NamedFinding
from worker.core.notification import NotificationView
from worker.core.record import JobRecord, OptionSet, WorkerRecord
from worker.core.views import DeadPage, DeadWhole, Disagreement
from worker.remote.intake import RemoteIntake
from worker.remote.jobs import TRIES, RemoteJobs
from worker.remote.link import Link, client_of
from worker.settings.serve import is_loopback

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from worker.core.record import Wanted

COMMANDS: Final[Mapping[Wanted, str]] = {"run": "resume", "pause": "pause", "drain": "drain"}


@asynccontextmanager
async def connected(address: str, token: str) -> AsyncIterator[Remote]:
    """Yield the server's use cases, once it has answered, knows the token, and speaks our version of the API."""
    async with client_of(address, token) as client:
        server = Remote(Link(address, client))
        await server.greet()
        yield server


class Remote(RemoteJobs, RemoteIntake):
    """`Operations` and `DocumentOperations` of a server, and its `doctor`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._who: Mapping[str, Any] = {}

    async def greet(self) -> None:
        """Return if the server knows us; Misconfigured when it is of another version, whose API may differ."""
        self._who = await self._link.greet()
        theirs = str(self._who.get("version", "none"))
        if _generation(theirs) != _generation(__version__):
            raise Misconfigured(
                f"the server {self._link.address} is Leveret {theirs}, and this command is {__version__}: "
                "install the server's version here"
            )

    # ------------------------------------------------------------------ dead letters

    async def list_dead(self, limit: int) -> DeadPage:
        """Return the newest dead messages."""
        return DeadPage.model_validate(await self._link.ask("dead", limit=limit))

    async def show_dead(self, name: str | None) -> DeadWhole:
        """Return one dead message."""
        if name is None:
            newest = (await self.list_dead(1)).messages
            if not newest:
                raise NotFound("none is dead")
            name = newest[0].sha256
        return DeadWhole.model_validate(await self._link.ask("dead", name))

    async def replay_dead(self, name: str, document: bytes | None = None) -> Republished:
        """Publish one again."""
        found = await self._link.send("POST", "dead", name, "replay", body=document, seconds=None)
        return Republished(**found["published"][0])

    async def replay_all(self) -> Replayed:
        """Publish every one again."""
        found = await self._counted("POST", "dead", "replay")
        return Replayed(tuple(Republished(**one) for one in found["published"]), tuple(found["refused"]))

    async def purge_dead(self, name: str) -> int:
        """Delete one for good."""
        return int((await self._link.send("DELETE", "dead", name))["purged"])

    async def purge_all(self) -> int:
        """Delete every one for good."""
        return int((await self._counted("DELETE", "dead"))["purged"])

    async def _counted(self, method: str, *path: str) -> Any:
        """Return what is answered to a request for all of them, which must say how many there are."""
        for _ in range(TRIES):
            count = (await self.list_dead(1)).count
            try:
                return await self._link.send(method, *path, query={"expected": count}, seconds=None)
            except Conflict as error:
                last = error
        raise last

    # ------------------------------------------------------------------ the fleet

    async def list_workers(self) -> list[WorkerRecord]:
        """Return the workers."""
        return [WorkerRecord.model_validate(one) for one in await self._link.ask("workers")]

    async def unserved_lanes(self) -> dict[str, int]:
        """Return what waits where nobody serves."""
        return dict((await self._link.ask("queues"))["unserved"])

    async def steer_worker(self, worker_id: str, wanted: Wanted) -> list[str]:
        """Ask one worker."""
        return list((await self._link.send("POST", "workers", worker_id, COMMANDS[wanted]))["workers"])

    async def steer_fleet(self, wanted: Wanted) -> list[str]:
        """Ask every worker."""
        return list((await self._link.send("POST", "workers", COMMANDS[wanted]))["workers"])

    async def forget_worker(self, worker_id: str) -> list[str]:
        """Forget one worker."""
        return list((await self._link.send("DELETE", "workers", worker_id))["workers"])

    async def forget_silent_workers(self, seconds: float) -> list[str]:
        """Forget those that are silent."""
        return list((await self._link.send("DELETE", "workers", query={"silent": seconds}))["workers"])

    async def fleet_rows(self) -> FleetSnapshot:
        """Return what the database shows now."""
        found = await self._link.ask("fleet")
        workers = [WorkerRecord.model_validate(one) for one in found["workers"]]
        return FleetSnapshot(
            counts=found["counts"], workers=workers, jobs=[JobRecord.model_validate(one) for one in found["jobs"]]
        )

    async def queue_depths(self) -> AsyncGenerator[Mapping[str, int]]:
        """Yield the depths as the server knows them."""
        while True:
            found = await self._link.ask("queues")
            if found["problem"]:
                raise BrokerUnavailable(found["problem"])
            yield found["messages"]

    async def doctor(self, *, prove: bool = False) -> list[NamedFinding]:
        """Return what the server's doctor finds, the way to the server first."""
        if prove:
            raise Misconfigured("--prove proves what this host can do: unset LEVERET_SERVER for it")
        name, role = self._who["name"], self._who["role"]
        fact = f"{self._link.address} is Leveret {self._who['version']} and knows us as {name}, {role}"
        own = NamedFinding(name="server", **_encrypted(self._link.address, fact).model_dump())
        try:
            found = await self._link.send("GET", "doctor", seconds=None)
        except Refused as error:
            return [own, NamedFinding(name="doctor", status="warning", fact=str(error))]
        return [own, *(NamedFinding.model_validate(one) for one in found)]

    async def reconcile(self, seconds: float, *, mend: bool) -> list[Disagreement]:
        """Return what does not agree."""
        query = {"overdue": seconds, "mend": mend}
        found = await self._link.send("POST", "reconcile", query=query, seconds=None)
        return [Disagreement.model_validate(one) for one in found]

    # ------------------------------------------------------------------ option sets

    async def list_option_sets(self, module: str | None = None) -> list[OptionSet]:
        """Return the option sets."""
        return [OptionSet.model_validate(one) for one in await self._link.ask("option-sets", module=module)]

    async def get_option_set(self, module: str, name: str) -> OptionSet:
        """Return one option set."""
        return OptionSet.model_validate(await self._link.ask("option-sets", module, name))

    async def put_option_set(self, module: str, name: str, document: Any) -> OptionSet:
        """Store one option set."""
        return OptionSet.model_validate(await self._link.put(document, "option-sets", module, name))

    async def delete_option_set(self, module: str, name: str) -> None:
        """Delete one option set."""
        await self._link.send("DELETE", "option-sets", module, name)

    # ------------------------------------------------------------------ notifications

    async def list_notifications(self) -> list[NotificationView]:
        """Return the notifications."""
        return [NotificationView.model_validate(one) for one in await self._link.ask("notifications")]

    async def get_notification(self, name: str) -> NotificationView:
        """Return one notification."""
        return NotificationView.model_validate(await self._link.ask("notifications", name))

    async def put_notification(self, name: str, document: Any) -> NotificationView:
        """Store one notification."""
        return NotificationView.model_validate(await self._link.put(document, "notifications", name))

    async def delete_notification(self, name: str) -> None:
        """Delete one notification."""
        await self._link.send("DELETE", "notifications", name)

    async def try_notification(self, name: str) -> None:
        """Send a sample."""
        await self._link.send("POST", "notifications", name, "test")


def _generation(version: str) -> tuple[str, ...]:
    """Return the part of a version whose change may change the API: `1` of 1.4.2, `0.3` of 0.3.1."""
    major, _, rest = version.partition(".")
    return (major, rest.partition(".")[0]) if major == "0" else (major,)


def _encrypted(address: str, fact: str) -> Finding:
    """Return the finding on the way to a server: over a network a token goes encrypted."""
    if address.startswith("https://") or is_loopback(urlsplit(address).hostname or ""):
        return Finding(status="ok", fact=fact)
    advice = "put a reverse proxy with a certificate before it, and set LEVERET_SERVER to https://…"
    return Finding(status="warning", fact=f"{fact}; the token goes to it unencrypted", advice=advice)
