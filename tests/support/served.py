"""The server in a thread of the test's process: its own loop, its own port, and nothing to import anew."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import uvicorn

from infra.local.ports import free_port
from worker.settings import load
from worker.web.application import create

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 60.0


class Served:
    """The application with the settings of this environment, which may be ended and started again on its port."""

    def __init__(self, **overrides: Any) -> None:
        self._port = free_port(frozenset())
        self._overrides = overrides
        self._thread: threading.Thread | None = None
        self._server: uvicorn.Server | None = None
        self.address = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Return once it answers."""
        settings = load(serve_address=f"127.0.0.1:{self._port}", **self._overrides)
        configuration = uvicorn.Config(
            create(settings), host="127.0.0.1", port=self._port, log_config=None, lifespan="on", ws="none",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        ready = threading.Event()
        self._server = _Server(configuration, ready)
        self._thread = threading.Thread(target=asyncio.run, args=(self._server.serve(),))
        self._thread.start()
        assert ready.wait(START_SECONDS), "the server did not start"

    def end(self) -> None:
        """End it."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
            self._server = self._thread = None


class _Server(uvicorn.Server):
    """A server that says when it answers, and leaves the signals alone."""

    def __init__(self, configuration: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(configuration)
        self._ready = ready

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self._ready.set()

    def capture_signals(self) -> Any:
        return contextlib.nullcontext()


@contextlib.contextmanager
def served(**overrides: Any) -> Iterator[Served]:
    """Yield a server that runs, and does so no more afterwards."""
    server = Served(**overrides)
    server.start()
    try:
        yield server
    finally:
        server.end()
