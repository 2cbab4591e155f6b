"""`watch` without an ID: the fleet on a terminal, drawn anew as it changes, until somebody ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import termios
import threading
import time
import tty
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.live import Live

from worker import app
from worker.cli.fleet import View, picture, seen
from worker.core.errors import LeveretError
from worker.core.routing import DEAD_QUEUE, LANES, PRIORITIES, queue_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.core.message.dead_letter import Broker
    from worker.core.ports import Repository
    from worker.settings import Settings

POLL_SECONDS: Final = 1.0
SILENT_SECONDS: Final = 5.0
KEYBOARD: Final = 0
KEYS: Final = 64


async def watch_fleet(settings: Settings, repository: Repository) -> None:
    """Show the fleet until somebody types q, or Ctrl-C, which raises KeyboardInterrupt as everywhere."""
    # A broker that hangs is asked in a thread: it must hold neither the screen nor its end.
    app.abandon_threads()
    sight = Sight(settings, repository)
    ended = asyncio.Event()
    console = Console()
    with Live(console=console, screen=True, auto_refresh=False) as live, listening(ended, sight.changed):
        async with asyncio.TaskGroup() as group:
            looks = [group.create_task(sight.look_at_rows()), group.create_task(sight.look_at_queues())]
            while not ended.is_set():
                sight.changed.clear()
                live.update(picture(sight.view(), console.height), refresh=True)
                with suppress(TimeoutError):
                    await asyncio.wait_for(sight.changed.wait(), POLL_SECONDS)
            for look in looks:
                look.cancel()
        sight.close()


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


class Sight:
    """What was seen last of database and broker, each looked at by itself; who is silent is told to be so."""

    def __init__(self, settings: Settings, repository: Repository) -> None:
        self._settings = settings
        self._repository = repository
        self._queues = Queues(settings)
        self._view = View()
        self._waiting: Mapping[str, int] = {}
        self._problems = {"database": "", "broker": ""}
        self._answered = dict.fromkeys(self._problems, time.monotonic())
        self.changed = asyncio.Event()

    def view(self) -> View:
        """Return what there is to show."""
        now = time.monotonic()
        told = [
            problem or f"the {name} has not answered for {now - self._answered[name]:.0f} s"
            for name, problem in self._problems.items()
            if problem or now - self._answered[name] > SILENT_SECONDS
        ]
        return replace(self._view, waiting=self._waiting, problems=told)

    async def look_at_rows(self) -> None:
        """Ask the database, for ever."""
        while True:
            try:
                self._view = await seen(self._settings, self._repository)
            except LeveretError as error:
                self._seen("database", f"what you see is old: {error}")
            else:
                self._seen("database")
            await asyncio.sleep(POLL_SECONDS)

    async def look_at_queues(self) -> None:
        """Ask the broker, for ever."""
        while True:
            self._waiting, problem = await asyncio.to_thread(self._queues.waiting)
            self._seen("broker", problem)
            await asyncio.sleep(POLL_SECONDS)

    def _seen(self, name: str, problem: str = "") -> None:
        self._problems[name] = problem
        self._answered[name] = time.monotonic()
        self.changed.set()

    def close(self) -> None:
        """Disconnect."""
        self._queues.close()


class Queues:
    """The lengths of the queues, over one connection that is made anew when it is lost."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = ExitStack()
        self._broker: Broker | None = None
        self._turn = threading.Lock()

    def waiting(self) -> tuple[dict[str, int], str]:
        """Return how many messages wait by queue, or nothing and why; blocks for seconds at most."""
        names = [queue_of(lane, priority) for lane in LANES for priority in PRIORITIES]
        with self._turn:
            try:
                if self._broker is None:
                    self._broker = self._stack.enter_context(app.publisher(self._settings))
                return {name: self._broker.waiting(name) for name in (*names, DEAD_QUEUE)}, ""
            except LeveretError as error:
                self._stack.close()
                self._broker = None
                return {}, str(error)

    def close(self) -> None:
        """Disconnect, unless a thread still waits for the broker: the connection ends with the process then."""
        if self._turn.acquire(blocking=False):
            self._stack.close()
            self._turn.release()
