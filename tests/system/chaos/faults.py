"""The faults: each breaks one thing for a while and makes it whole again."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .world import FAKETIME, LEASE_SECONDS, World

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable
    from pathlib import Path

STEPS = (
    "claimed", "resolved", "task 0", "ran", "verified", "announced", "revealing", "published", "recorded", "settling",
    "settled",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault, what does it, and whether a campaign has it once at most a round of the deck."""

    name: str
    inject: Callable[[World, random.Random], Awaitable[None]]
    slow: bool = False


async def kill(world: World, dice: random.Random) -> None:
    dice.choice(world.workers).send(signal.SIGKILL)


def kill_at(step: str) -> Callable[[World, random.Random], Awaitable[None]]:
    async def inject(world: World, dice: random.Random) -> None:
        trap = dice.choice(world.workers).trap
        trap.write_text(step)
        for _ in range(80):
            await asyncio.sleep(0.1)
            if not trap.exists():
                return
        trap.unlink(missing_ok=True)

    return inject


async def stop_and_go(world: World, dice: random.Random) -> None:
    worker = dice.choice(world.workers)
    worker.send(signal.SIGSTOP)
    await asyncio.sleep(LEASE_SECONDS + dice.uniform(1, 3))
    worker.send(signal.SIGCONT)


def terminate(index: int) -> Callable[[World, random.Random], Awaitable[None]]:
    async def inject(world: World, dice: random.Random) -> None:
        world.workers[index % len(world.workers)].send(signal.SIGTERM)

    return inject


def cut(which: str) -> Callable[[World, random.Random], Awaitable[None]]:
    async def inject(world: World, dice: random.Random) -> None:
        world.proxies[which].cut()

    return inject


def slow(which: str) -> Callable[[World, random.Random], Awaitable[None]]:
    async def inject(world: World, dice: random.Random) -> None:
        world.proxies[which].delay = dice.uniform(0.2, 1.5)
        await asyncio.sleep(dice.uniform(2, 5))
        world.proxies[which].delay = 0.0

    return inject


def half_open(which: str) -> Callable[[World, random.Random], Awaitable[None]]:
    async def inject(world: World, dice: random.Random) -> None:
        world.proxies[which].swallow()

    return inject


def refusing(status: int) -> Callable[[World, random.Random], Awaitable[None]]:
    async def inject(world: World, dice: random.Random) -> None:
        world.proxies["s3"].answer = status
        await asyncio.sleep(dice.uniform(1, 4))
        world.proxies["s3"].answer = 0

    return inject


async def short_reads(world: World, dice: random.Random) -> None:
    world.proxies["s3"].short = True
    await asyncio.sleep(dice.uniform(0.5, 2))
    world.proxies["s3"].short = False


async def restart_broker(world: World, dice: random.Random) -> None:
    end = dice.choice((world.services.stop, world.services.kill))
    await asyncio.to_thread(end, "rabbitmq")
    await asyncio.to_thread(world.services.start, "rabbitmq")


async def restart_database(world: World, dice: random.Random) -> None:
    end = dice.choice((world.services.stop, world.services.kill))
    await asyncio.to_thread(end, "postgres")
    await asyncio.to_thread(world.services.start, "postgres")


async def pause_database(world: World, dice: random.Random) -> None:
    await asyncio.to_thread(world.services.pause, "postgres")
    try:
        await asyncio.sleep(LEASE_SECONDS + dice.uniform(1, 4))
    finally:
        await asyncio.to_thread(world.services.resume, "postgres")


def fill(disk: Callable[[World], Path]) -> Callable[[World, random.Random], Awaitable[None]]:
    async def inject(world: World, dice: random.Random) -> None:
        ballast = disk(world) / "ballast"
        await asyncio.to_thread(_fill, ballast)
        await asyncio.sleep(dice.uniform(1.5, 4))
        ballast.unlink()

    return inject


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


async def unmount(world: World, dice: random.Random) -> None:
    away = world.nas.with_name("away")
    world.nas.rename(away)
    try:
        await asyncio.sleep(dice.uniform(1, 4))
    finally:
        away.rename(world.nas)


def deck(world: World) -> list[Fault]:
    """Return every kind of fault that this machine can have, once."""
    found = [Fault("SIGKILL of a worker", kill), Fault("SIGKILL of a worker", kill)]
    found += [Fault(f"SIGKILL at step {step}", kill_at(step)) for step in STEPS]
    found += [
        Fault("SIGSTOP beyond the lease", stop_and_go),
        Fault("SIGTERM with enough grace", terminate(0)),
        Fault("SIGTERM with too little grace", terminate(1)),
        Fault("broker restart", restart_broker, slow=True),
        Fault("database restart", restart_database, slow=True),
        Fault("database pause beyond the lease", pause_database, slow=True),
        Fault("S3 answers 500", refusing(500)),
        Fault("S3 answers 503 SlowDown", refusing(503)),
        Fault("S3 short reads", short_reads),
        Fault("NAS mount vanishes", unmount),
    ]
    for which in ("broker", "database", "s3"):
        found += [
            Fault(f"TCP cut: {which}", cut(which)),
            Fault(f"TCP delay: {which}", slow(which)),
            Fault(f"TCP half-open: {which}", half_open(which)),
        ]
    if world.has_disks:
        found += [
            Fault("full scratch", fill(lambda world: world.scratch.parent)),
            Fault("full destination", fill(lambda world: world.nas.parent)),
        ]
    return found


def absent(world: World) -> dict[str, str]:
    """Return the kinds of fault that this machine cannot have, and why."""
    found = {}
    if not world.has_disks:
        found |= dict.fromkeys(("full scratch", "full destination"), "none: no tmpfs can be mounted here (root only)")
    if not FAKETIME:
        found["worker started with a wrong clock"] = "none: libfaketime is not installed (`make chaos` installs it)"
    return found
