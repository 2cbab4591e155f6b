"""The faults: each breaks one thing for a while and makes it whole again."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .proxy import ANSWER, CONTENT, REQUEST, WRITING, Proxy
from .world import FAKETIME, LEASE_SECONDS, World

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    Inject = Callable[[World, random.Random], Coroutine[Any, Any, bool]]

STEPS = (
    "claimed", "resolved", "planned", "divided", "task 0", "ran", "verified", "announced", "revealing", "published",
    "recorded", "settling", "settled",
)  # fmt: skip


LAST_WORDS = {
    "broker": re.compile(rb"\x01.{6}\x00\x3c\x00[\x28\x50]", re.DOTALL),  # basic.publish, basic.ack
    "database": re.compile(rb"COMMIT"),
    "s3": re.compile(rb"^(PUT|POST|GET) "),
}
"""What a client says when the loss of its answer leaves it in doubt, by service."""
STOP_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault; `inject` returns whether it met anything. A campaign may leave the slow ones out."""

    name: str
    inject: Inject
    slow: bool = False


async def kill(world: World, dice: random.Random) -> bool:
    return dice.choice(world.workers).send(signal.SIGKILL)


def kill_at(step: str) -> Inject:
    async def inject(world: World, dice: random.Random) -> bool:
        del dice
        world.trap.write_text(step)
        try:
            return await _until(lambda: not world.trap.exists())
        finally:
            world.trap.unlink(missing_ok=True)

    return inject


async def _until(reached: Callable[[], bool]) -> bool:
    """Return whether it comes so far within `STOP_SECONDS`."""
    for _ in range(int(STOP_SECONDS / 0.05)):
        if reached():
            return True
        await asyncio.sleep(0.05)
    return reached()


async def stop_and_go(world: World, dice: random.Random) -> bool:
    worker = dice.choice(world.workers)
    stopped = worker.send(signal.SIGSTOP)
    await asyncio.sleep(LEASE_SECONDS + dice.uniform(1, 3))
    worker.send(signal.SIGCONT)
    return stopped


def terminate(index: int) -> Inject:
    async def inject(world: World, dice: random.Random) -> bool:
        del dice
        return world.workers[index % len(world.workers)].send(signal.SIGTERM)

    return inject


def cut(which: str) -> Inject:
    return _ended(which, Proxy.cut, "cut_at")


def half_open(which: str) -> Inject:
    return _ended(which, Proxy.swallow, "swallow_at")


def _ended(which: str, act: Callable[[Proxy], None], armed: str) -> Inject:
    """End every connection to a service at any moment, or right at its client's `LAST_WORDS`."""

    async def inject(world: World, dice: random.Random) -> bool:
        proxy = world.proxies[which]
        if dice.random() < 0.5:
            setattr(proxy, armed, LAST_WORDS[which])
            said = await _until(lambda: getattr(proxy, armed) is None)
            setattr(proxy, armed, None)
            if said:
                return True
        met = bool(proxy.pairs)
        act(proxy)
        return met

    return inject


def slow(which: str) -> Inject:
    async def inject(world: World, dice: random.Random) -> bool:
        proxy = world.proxies[which]
        before, proxy.delay = proxy.touched, dice.uniform(0.2, 1.5)
        await _until(lambda: proxy.touched > before)
        await asyncio.sleep(dice.uniform(2, 5))
        proxy.delay = 0.0
        return proxy.touched > before

    return inject


def refusing(status: int) -> Inject:
    """Let S3 refuse every request, or only those that write: a job asks before it writes, and got no further."""

    async def inject(world: World, dice: random.Random) -> bool:
        proxy = world.proxies["s3"]
        proxy.answered = dice.choice((REQUEST, WRITING))
        before, proxy.answer = proxy.touched, status
        await _until(lambda: proxy.touched > before)
        await asyncio.sleep(dice.uniform(0.5, 4))
        proxy.answer = 0
        return proxy.touched > before

    return inject


async def short_reads(world: World, dice: random.Random) -> bool:
    """Let S3 break off every answer for a while, or only the objects that are read, oftener than its client asks."""
    proxy = world.proxies["s3"]
    before, enough = proxy.touched, dice.choice((1, 7))
    proxy.short = dice.choice((ANSWER, CONTENT, CONTENT))
    await _until(lambda: proxy.touched >= before + enough)
    proxy.short = None
    return proxy.touched > before


async def restart_broker(world: World, dice: random.Random) -> bool:
    ended = dice.choice((world.services.stop, world.services.kill))
    await asyncio.to_thread(ended, "rabbitmq")
    world.hear_broker()
    await asyncio.to_thread(world.services.start, "rabbitmq")
    return True


async def restart_database(world: World, dice: random.Random) -> bool:
    ended = dice.choice((world.services.stop, world.services.kill))
    await asyncio.to_thread(ended, "postgres")
    await asyncio.to_thread(world.services.start, "postgres")
    return True


async def pause_database(world: World, dice: random.Random) -> bool:
    await asyncio.to_thread(world.services.pause, "postgres")
    try:
        await asyncio.sleep(LEASE_SECONDS + dice.uniform(1, 4))
    finally:
        await asyncio.to_thread(world.services.resume, "postgres")
    return True


def fill(disk: Callable[[World], Path]) -> Inject:
    async def inject(world: World, dice: random.Random) -> bool:
        ballast = disk(world) / "ballast"
        await asyncio.to_thread(_fill, ballast)
        await asyncio.sleep(dice.uniform(1.5, 4))
        ballast.unlink()
        return True

    return inject


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


async def unmount(world: World, dice: random.Random) -> bool:
    away = world.nas.with_name("away")
    world.nas.rename(away)
    try:
        await asyncio.sleep(dice.uniform(1, 4))
    finally:
        away.rename(world.nas)
    return True


ALARMS = {
    "memory": (("set_vm_memory_high_watermark", "absolute", "1000"), ("set_vm_memory_high_watermark", "0.8")),
    "disk": (("set_disk_free_limit", "1000000GB"), ("set_disk_free_limit", "1MB")),
}


def alarm(resource: str) -> Inject:
    """Let the broker be short of something for longer than it lets a delivery be held."""

    async def inject(world: World, dice: random.Random) -> bool:
        raised, cleared = ALARMS[resource]
        try:
            if is_raised := await _controlled(world, *raised):
                await asyncio.sleep(dice.uniform(7, 10))
        finally:
            for _ in range(20):
                if await _controlled(world, *cleared):
                    break
                await asyncio.sleep(1)
        return is_raised

    return inject


async def _controlled(world: World, *words: str) -> bool:
    """Return whether the broker did it: now and then the command does not return, on a busy machine."""
    try:
        await asyncio.to_thread(world.services.rabbitmqctl, *words)
    except subprocess.TimeoutExpired:
        return False
    return True


def deck(world: World) -> list[Fault]:
    """Return every kind of fault that this machine can have, once."""
    found = [Fault("SIGKILL of a worker", kill), Fault("SIGKILL of a worker", kill)]
    found += [Fault(f"SIGKILL at step {step}", kill_at(step)) for step in STEPS]
    found += [
        Fault("SIGSTOP beyond the lease", stop_and_go),
        Fault("SIGTERM with enough grace", terminate(0)),
        Fault("SIGTERM with too little grace", terminate(1)),
        Fault("broker restart", restart_broker, slow=True),
        Fault("broker short of memory", alarm("memory"), slow=True),
        Fault("broker short of disk", alarm("disk"), slow=True),
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
