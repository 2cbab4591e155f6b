"""`watch` without an ID: the fleet on a terminal, drawn anew as it changes, until somebody ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import termios
import time
import tty
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.live import Live

from worker.cli.fleet import picture
from worker.control.fleet import FleetSnapshot
from worker.core.errors import LeveretError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.control.operations import FleetOperations

POLL_SECONDS: Final = 1.0
SILENT_SECONDS: Final = 5.0
KEYBOARD: Final = 0
KEYS: Final = 64


async def watch_fleet(known: FleetOperations) -> None:
    """Show the fleet until somebody types q, or Ctrl-C, which raises KeyboardInterrupt as everywhere."""
    look = LastLook(known)
    ended = asyncio.Event()
    console = Console()
    with Live(console=console, screen=True, auto_refresh=False) as live, listening(ended, look.changed):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(look.follow_rows()), group.create_task(look.follow_queues())]
            while not ended.is_set():
                look.changed.clear()
                live.update(picture(look.snapshot(), console.height), refresh=True)
                with suppress(TimeoutError):
                    await asyncio.wait_for(look.changed.wait(), POLL_SECONDS)
            for task in tasks:
                task.cancel()


@contextmanager
def listening(ended: asyncio.Event, changed: asyncio.Event) -> Iterator[None]:
    """Set `ended` when q is typed, `changed` then and when the terminal has another size."""
    loop = asyncio.get_running_loop()

    def typed() -> None:
        keys = os.read(KEYBOARD, KEYS)
        if not keys:
            loop.remove_reader(KEYBOARD)
        if b"q" in keys.lower():
            ended.set()
            changed.set()

    loop.add_signal_handler(signal.SIGWINCH, changed.set)
    before = termios.tcgetattr(KEYBOARD) if os.isatty(KEYBOARD) else None
    try:
        if before is not None:
            # Keys come one by one and are not shown; Ctrl-C is a signal still.
            tty.setcbreak(KEYBOARD)
            loop.add_reader(KEYBOARD, typed)
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
        if before is not None:
            loop.remove_reader(KEYBOARD)
            termios.tcsetattr(KEYBOARD, termios.TCSADRAIN, before)


class LastLook:
    """The newest answers of database and broker, each asked by itself; one that is silent becomes a problem."""

    def __init__(self, known: FleetOperations) -> None:
        self._known = known
        self._rows = FleetSnapshot()
        self._waiting: Mapping[str, int] = {}
        self._problems = {"database": "", "broker": ""}
        self._answered = dict.fromkeys(self._problems, time.monotonic())
        self.changed = asyncio.Event()

    def snapshot(self) -> FleetSnapshot:
        """Return what there is to show."""
        now = time.monotonic()
        problems = [
            problem or f"the {name} has not answered for {now - self._answered[name]:.0f} s"
            for name, problem in self._problems.items()
            if problem or now - self._answered[name] > SILENT_SECONDS
        ]
        return replace(self._rows, waiting=self._waiting, problems=problems)

    async def follow_rows(self) -> None:
        """Ask the database, for ever."""
        while True:
            try:
                self._rows = await self._known.fleet_rows()
            except LeveretError as error:
                self._note("database", f"these figures are out of date: {error}")
            else:
                self._note("database")
            await asyncio.sleep(POLL_SECONDS)

    async def follow_queues(self) -> None:
        """Ask the broker, for ever, over one connection that is made anew when it is lost."""
        while True:
            try:
                async with aclosing(self._known.queue_depths()) as depths:
                    async for self._waiting in depths:
                        self._note("broker")
                        await asyncio.sleep(POLL_SECONDS)
            except LeveretError as error:
                self._waiting = {}
                self._note("broker", str(error))
            await asyncio.sleep(POLL_SECONDS)

    def _note(self, name: str, problem: str = "") -> None:
        self._problems[name] = problem
        self._answered[name] = time.monotonic()
        self.changed.set()
