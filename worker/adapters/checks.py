"""The checks of `doctor`: each returns what it found, and what to do about it."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING, Final, Protocol

import psutil

from worker.core.errors import ToolMissing
from worker.core.finding import Finding
from worker.core.record import serving
from worker.core.routing import LANES
from worker.media.capabilities import lanes_of, version_in, version_question

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path
    from types import TracebackType

    from worker.core.ports import BrokerAdmin, Repository, Runner
    from worker.core.topology import Topology
    from worker.media.capabilities import Capabilities

VERSION_SECONDS: Final = 15.0
SOME_SKEW_SECONDS: Final = 2.0
MAX_SKEW_SECONDS: Final = 300.0
FIRST_TIMED: Final = (3, 8, 15)
FIRST_BY_POLICY: Final = (3, 12)
OLDEST: Final = {"sqlite": (3, 40), "postgresql": (15,)}
MAX_VERSION_WORDS: Final = 2
_GIB: Final = 1 << 30


async def page(address: str, *, alone: bool, tokens: int, players: Path) -> Finding:
    """Return whether `leveret serve` would begin, and whether browsers can play HLS and DASH.

    `alone` says that only this machine reaches the address; `tokens` is how many let people in.
    """
    if not alone and not tokens:
        advice = "`leveret token admin` prints a token for WORKER_SERVE_TOKENS"
        return Finding(status="error", fact=f"other machines can reach {address}, and no token is set", advice=advice)
    who = f"{tokens} {'token' if tokens == 1 else 'tokens'}" if tokens else "no token, for this machine only"
    there = await asyncio.to_thread(lambda: sum(1 for _ in players.glob("*.js")) if players.is_dir() else 0)
    if not there:
        advice = "`python -m infra assets` fetches them"
        return Finding(
            status="warning", fact=f"{address}, {who}; the players for HLS and DASH are missing", advice=advice
        )
    return Finding(status="ok", fact=f"{address}, {who}; the players for HLS and DASH are installed")


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


async def no_nas() -> Finding:
    """Return that there is none, which is no fault."""
    return Finding(status="ok", fact="WORKER_NAS_ROOT is not set: jobs here cannot use nas://")


async def folder(path: Path, setting: str) -> Finding:
    """Return whether the folder that `setting` names is there, what it is mounted from, and its space."""
    return await asyncio.to_thread(_look_at_folder, path, setting)


def _look_at_folder(path: Path, setting: str) -> Finding:
    try:
        space = shutil.disk_usage(path)
        readable, writable = os.access(path, os.R_OK | os.X_OK), os.access(path, os.W_OK)
    except OSError as error:
        advice = f"mount it, make it, or correct {setting}"
        return Finding(status="error", fact=f"{path}: {error.strerror}", advice=advice)
    mount, kind = _mount_of(path)
    fact = f"{path} is on {kind} mounted at {mount}, {space.free / _GIB:.1f} GiB free"
    if not readable:
        return Finding(
            status="error",
            fact=f"{fact}, but the worker's user cannot read it",
            advice="give that user the right to read",
        )
    if not writable:
        advice = "give the worker's user the right to write, if jobs write there"
        return Finding(status="warning", fact=f"{fact}, read-only for the worker's user", advice=advice)
    if space.free < _GIB:
        return Finding(status="warning", fact=fact, advice="free space: outputs do not fit")
    return Finding(status="ok", fact=fact)


def _mount_of(path: Path) -> tuple[str, str]:
    """Return where the file system of `path` is mounted, and its type."""
    real = path.resolve()
    kinds = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    for place in (real, *real.parents):
        if str(place) in kinds:
            return str(place), kinds[str(place)]
    return "/", "an unknown file system"


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


async def scratch(folder: Path, needed_bytes: int) -> Finding:
    """Return whether scratch can be made and has the space without which no job is taken."""
    try:
        free = await asyncio.to_thread(_free_bytes, folder)
    except OSError as error:
        return Finding(status="error", fact=f"{folder}: {error.strerror}", advice="correct WORKER_SCRATCH")
    fact = f"{folder} has {free / _GIB:.1f} GiB free"
    if free < needed_bytes:
        advice = f"free space: no job is taken with less than {needed_bytes / _GIB:.1f} GiB (WORKER_SCRATCH_FREE_BYTES)"
        return Finding(status="error", fact=fact, advice=advice)
    return Finding(status="ok", fact=fact)


def _free_bytes(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(folder).free


async def tool(name: str, path: str | None, runner: Runner, *, required: bool) -> Finding:
    """Return where a program is and which version it says it is; its absence breaks only what requires it."""
    status: Final = "error" if required else "warning"
    advice = f"install it, or set WORKER_{name.upper()}"
    if path is None:
        return Finding(status=status, fact="not found", advice=advice)
    try:
        (end,) = await runner.run(version_question(name, path), timeout=VERSION_SECONDS)
    except ToolMissing as error:
        return Finding(status=status, fact=str(error), advice=advice)
    version = version_in(f"{end.output}\n{end.tail}")
    if not end.ok or version is None:
        return Finding(status=status, fact=f"{path}: {end}", advice=advice)
    return Finding(status="ok", fact=f"{path}: {brief(version)}")


def brief(version: str) -> str:
    """Return `ffmpeg 5.1.9-0+deb12u1` of ffmpeg's first line, which goes on about its authors; others' are cut."""
    words = version.split()
    if words[1:2] == ["version"] and len(words) > MAX_VERSION_WORDS:
        words = [words[0], words[2]]
    return " ".join(words)[:60]


async def capabilities(proving: Awaitable[Capabilities], stated: tuple[str, ...]) -> Finding:
    """Return what this host can do; a lane that the settings name and the host cannot serve is an error."""
    found = await proving
    lanes = lanes_of(found)
    formats = ", ".join(f"{name} by {encoder}" for name, encoder in found.formats.items())
    host = f"{found.cores} {found.architecture} cores, proved in {found.seconds:.1f} s"
    fact = f"lanes {','.join(lanes) or 'none'}; {formats or 'no encoder works'}; {host}"
    if missing := [lane for lane in stated if lane not in lanes]:
        return Finding(
            status="error",
            fact=f"{fact}; it cannot serve {','.join(missing)}",
            advice="correct WORKER_LANES, or repair the hardware's driver and run `leveret doctor --prove`",
        )
    broken = {name: reason for name, reason in found.tools.items() if reason is not True}
    if broken or not lanes:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in broken.items())
        advice = "repair or remove what does not work, then run `leveret doctor --prove`"
        return Finding(status="warning" if lanes else "error", fact=f"{fact}; {reasons}", advice=advice)
    return Finding(status="ok", fact=fact)


async def workers(repository: Repository, offline_after: float) -> Finding:
    """Return what living workers report of themselves: why they take no jobs, or that two have one name."""
    try:
        found = await repository.workers(offline_after)
    finally:
        await repository.close()
    living = [one for one in found if one.status != "offline"]
    if said := "; ".join(f"{one.worker_id} on {one.hostname}: {one.problem}" for one in living if one.problem):
        return Finding(
            status="warning",
            fact=said,
            advice="correct it on that host; `leveret workers` shows when the problem is gone",
        )
    count = "1 worker runs" if len(living) == 1 else f"{len(living)} workers run"
    return Finding(status="ok", fact=f"{count}, and none reports a problem")


async def lanes(repository: Repository, offline_after: float) -> Finding:
    """Return which lanes living workers serve; jobs that wait in one without any are a warning."""
    try:
        served = serving(await repository.workers(offline_after))
        waiting = await repository.waiting_by_lane()
    finally:
        await repository.close()
    fact = ", ".join(f"{lane}: {len(served.get(lane, ()))}" for lane in LANES)
    stuck = sorted({lane for lane in waiting if lane not in served})
    if stuck:
        counts = ", ".join(f"{waiting[lane]} in {lane}" for lane in stuck)
        advice = f"start a worker that serves {','.join(stuck)} with `leveret run`, or cancel the jobs"
        alone = f"workers by lane: {fact}" if served else "no worker is running"
        return Finding(status="warning", fact=f"{alone}; jobs wait in lanes without a worker: {counts}", advice=advice)
    if not served:
        return Finding(status="warning", fact="no worker is running", advice="start one with `leveret run`")
    return Finding(status="ok", fact=f"workers by lane: {fact}")
