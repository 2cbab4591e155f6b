"""The checks of database, broker and storage: that they answer, and are fit for Leveret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from worker.core.finding import Finding

if TYPE_CHECKING:
    from types import TracebackType

    from worker.core.ports import BrokerAdmin, Repository
    from worker.core.topology import Topology

SOME_SKEW_SECONDS: Final = 2.0
MAX_SKEW_SECONDS: Final = 300.0
FIRST_TIMED: Final = (3, 8, 15)
FIRST_BY_POLICY: Final = (3, 12)
OLDEST: Final = {"sqlite": (3, 40), "postgresql": (15,)}


async def database(repository: Repository) -> Finding:
    """Return whether the database answers, is new enough, lets us write, and its schema is the newest."""
    try:
        await repository.check()
        # Nothing has this name, so nothing changes; but who may only read is refused.
        await repository.steer("", "run")
        facts = await repository.facts()
    finally:
        await repository.close()
    fact = f"{facts.product} {dotted(facts.version)} answers and can be written to; its schema is up to date"
    oldest = OLDEST.get(facts.product, ())
    if facts.version < oldest:
        return Finding(status="warning", fact=fact, advice=f"Leveret is tested from {dotted(oldest)} on: upgrade it")
    return Finding(status="ok", fact=fact)


async def clock(repository: Repository) -> Finding:
    """Return how far this host's clock is from the database's, which all times in records are of."""
    try:
        ahead = (await repository.facts()).ahead_seconds
    finally:
        await repository.close()
    fact = f"this host's clock is {abs(ahead):.1f} s {'behind' if ahead > 0 else 'ahead of'} the database's"
    if abs(ahead) > MAX_SKEW_SECONDS:
        return Finding(
            status="error", fact=fact, advice="start time synchronisation (NTP): S3 refuses requests with a wrong time"
        )
    if abs(ahead) > SOME_SKEW_SECONDS:
        return Finding(status="warning", fact=fact, advice="start time synchronisation (NTP): times in logs are wrong")
    return Finding(status="ok", fact=fact)


async def broker_timeout(publisher: VersionedBroker, timeout_seconds: float, longest_seconds: float) -> Finding:
    """Return whether the broker leaves a delivery with us for as long as the longest job may take.

    From 3.8.15 on it takes back what is not acknowledged in time. How long that is it tells neither over AMQP nor
    over its management API: `timeout_seconds` is what the settings say of it, 0 for no limit.
    """
    async with publisher:
        version = publisher.version
    who = f"RabbitMQ {dotted(version) or 'of an unknown version'}"
    longest = f"a job may take {longest_seconds:.0f} s"
    if version and version < FIRST_TIMED:
        return Finding(status="ok", fact=f"{who} has no time limit on a delivery; {longest}")
    if not timeout_seconds:
        return Finding(
            status="ok", fact=f"{who} has no time limit on a delivery (WORKER_BROKER_TIMEOUT_SECONDS); {longest}"
        )
    fact = f"{who} takes a delivery back after {timeout_seconds:.0f} s (WORKER_BROKER_TIMEOUT_SECONDS); {longest}"
    if longest_seconds <= timeout_seconds:
        return Finding(status="ok", fact=fact)
    wanted = round(longest_seconds * 1000)
    policy = (
        f""" or `rabbitmqctl set_policy leveret '^media[.]' '{{"consumer-timeout": {wanted}}}' --apply-to queues`"""
    )
    return Finding(
        status="warning",
        fact=f"{fact}: a longer one keeps its lease, but its message is redelivered and deferred until it ends",
        advice=f"put `consumer_timeout = {wanted}` into rabbitmq.conf{policy if version >= FIRST_BY_POLICY else ''},"
        f" then set WORKER_BROKER_TIMEOUT_SECONDS={longest_seconds:.0f}",
    )


def dotted(version: tuple[int, ...]) -> str:
    """Return `3.10.8`."""
    return ".".join(map(str, version))


class VersionedBroker(Protocol):
    """A broker whose version is known once it is entered."""

    @property
    def version(self) -> tuple[int, ...]:
        """Return its version, empty where it reports none."""
        ...

    async def __aenter__(self) -> object:
        """Connect."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        ...


async def broker(admin: BrokerAdmin, wanted: Topology) -> Finding:
    """Return whether the broker answers, holds our queues as they should be, lets us use them, and takes messages."""
    queues = wanted.queues
    async with admin:
        differences = await admin.differences(queues)
        refusals = () if differences else await admin.refusals(wanted.exchanges)
        if not differences and not refusals:
            await admin.require_taking()
    if differences:
        missing = all(line.endswith("is missing") for line in differences)
        advice = (
            "run `python -m infra provision`"
            if missing
            else "drain and delete the queues that differ, then run `python -m infra provision`"
        )
        if missing and len(differences) == len(queues):
            return Finding(status="error", fact="it answers, but no queue of Leveret is declared", advice=advice)
        return Finding(status="error", fact="; ".join(differences), advice=advice)
    if refusals:
        return Finding(
            status="error",
            fact=f"the user of WORKER_BROKER_URL may not {', '.join(refusals)}",
            advice="give it the permissions: `rabbitmqctl set_permissions -p VHOST USER '.*' '.*' '.*'`",
        )
    return Finding(
        status="ok", fact=f"it answers; all {len(queues)} queues are declared; this user may consume and publish"
    )


async def fleet(admin: BrokerAdmin, rows: Identified) -> Finding:
    """Return whether broker and database are those of one fleet."""
    try:
        identity = await rows.identity()
    finally:
        await rows.close()
    async with admin:
        await admin.require_fleet(identity)
    return Finding(status="ok", fact=f"the broker is marked with this database ({identity[:8]}), or not marked yet")


class Identified(Protocol):
    """A database that says which one it is."""

    async def identity(self) -> str:
        """Return which database this is."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class Checkable(Protocol):
    """A storage, or all of them."""

    async def check(self) -> None:
        """Return if it can be written to now."""
        ...


async def storage(place: Checkable, url: str) -> Finding:
    """Return that the storage can be written to; what `check` raises says what is wrong, and what to do."""
    await place.check()
    return Finding(status="ok", fact=f"{url} can be written to")
