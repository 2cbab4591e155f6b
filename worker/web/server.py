"""uvicorn with our settings: begins refused when it would be open to others, and ends in order."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

import structlog
import uvicorn

from worker import __version__, logs
from worker.adapters.threads import abandon_threads
from worker.core.errors import Misconfigured
from worker.web.access import Tokens
from worker.web.application import create
from worker.web.services import started

if TYPE_CHECKING:
    from worker.settings import Settings

log = structlog.get_logger(__name__)

END_SECONDS: Final = 10
MOST_CONNECTIONS: Final = 2000


def address_of(text: str) -> tuple[str, int]:
    """Return (host, port) of `host:port` or `[address]:port`."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_tokens(settings: Settings, tokens: Tokens) -> None:
    """Return if nobody unknown can reach the page; Misconfigured says what to set."""
    host, _ = address_of(settings.serve_address)
    if not is_loopback(host) and tokens.empty:
        raise Misconfigured(
            f"WORKER_SERVE_ADDRESS {settings.serve_address} can be reached by others, and no token is set: "
            "`leveret token admin` prints one for WORKER_SERVE_TOKENS or WORKER_SERVE_TOKENS_FILE"
        )


def listening(settings: Settings) -> socket.socket:
    """Return the socket on which the page answers; Misconfigured when it is not to be had."""
    host, port = address_of(settings.serve_address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise Misconfigured(f"WORKER_SERVE_ADDRESS {settings.serve_address}: {error.strerror or error}") from error
    return found


async def serve(settings: Settings) -> None:
    """Answer until SIGTERM; then end the streams, let requests end for seconds, and close everything."""
    logs.configure(settings.log_level, settings.log_format)
    abandon_threads(32)
    tokens = Tokens.of(settings)
    require_tokens(settings, tokens)
    with listening(settings) as door:
        async with started(settings) as services:
            server = _Server(_configuration(create(settings, services, tokens)))
            loop = asyncio.get_running_loop()

            def end() -> None:
                # A stream that nobody ends would hold the server for as long as a browser is open.
                services.pulse.stop()
                server.should_exit = True

            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, end)
            host, port = door.getsockname()[:2]
            shown = f"http://{f'[{host}]' if ':' in host else host}:{port}{settings.serve_root_path}/"
            log.info("server_started", version=__version__, address=shown, tokens=tokens.required)
            await server.serve(sockets=[door])
    log.info("server_stopped")


def _configuration(application: Any) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        lifespan="on",
        ws="none",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=END_SECONDS,
        h11_max_incomplete_event_size=64 * 1024,
    )


class _Server(uvicorn.Server):
    """A server that leaves the signals to us."""

    def install_signal_handlers(self) -> None:
        """Do nothing."""

    def capture_signals(self) -> Any:
        """Return a block that captures none."""
        return nullcontext()
