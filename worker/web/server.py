"""uvicorn with our settings: begins refused when it would be open to others, and ends in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
import socket
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, Literal

import structlog
import uvicorn

from worker import __version__, logs
from worker.adapters.threads import abandon_threads
from worker.core.errors import Misconfigured
from worker.settings.serve import address_of, is_loopback
from worker.web.access import Tokens
from worker.web.application import Growing, begin
from worker.web.connections import Limits, limited_protocol
from worker.web.guard import Rules
from worker.web.services import open_services

if TYPE_CHECKING:
    from worker.settings import Settings

log = structlog.get_logger(__name__)

END_SECONDS: Final = 10
MAX_CONNECTIONS: Final = 2000


def require_tokens(settings: Settings, tokens: Tokens) -> None:
    """Return if nobody unknown can reach the page; Misconfigured says what to set."""
    host, _ = address_of(settings.serve_address)
    if not is_loopback(host) and tokens.empty:
        raise Misconfigured(
            f"WORKER_SERVE_ADDRESS {settings.serve_address} can be reached by others, and no token is set: "
            "`leveret token admin` prints one for WORKER_SERVE_TOKENS or WORKER_SERVE_TOKENS_FILE"
        )


def listening_socket(settings: Settings) -> socket.socket:
    """Return the socket on which the page answers; Misconfigured when it is not to be had."""
    host, port = address_of(settings.serve_address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY where the protocol is stated; without it a small answer waits 40 ms for the client's
    # delayed acknowledgement of its head.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
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
    _log_faults()
    _allow_many_files()
    tokens = Tokens.of(settings)
    require_tokens(settings, tokens)
    with listening_socket(settings) as door:
        async with open_services(settings) as services:
            rules = Rules.of(tokens, settings.serve_hosts, settings.serve_trusted_proxies)
            protocol = limited_protocol(Limits(), rules.is_proxy)
            growing, application = begin(settings, services, tokens)
            server = _Server(_configuration(application, protocol))
            loop = asyncio.get_running_loop()

            def end() -> None:
                # An open event stream would keep the server from stopping for as long as a browser is open.
                services.pulse.stop()
                server.should_exit = True

            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, end)
            host, port = door.getsockname()[:2]
            shown = f"http://{f'[{host}]' if ':' in host else host}:{port}{settings.serve_root_path}/"
            log.info("server_started", version=__version__, address=shown, tokens=tokens.required)
            rest = asyncio.create_task(_grow(growing, server), name="rest")
            try:
                await server.serve(sockets=[door])
            finally:
                rest.cancel()
                await asyncio.wait({rest})
            if not rest.cancelled():
                rest.result()
    log.info("server_stopped")


async def _grow(growing: Growing, server: _Server) -> None:
    """Import the rest of the application once the server answers; end the server if that fails."""
    try:
        await server.answers.wait()
        await growing.grow()
    except Exception:
        server.should_exit = True
        raise
    # Objects made until now live as long as the process: the garbage collector need not scan them again.
    gc.collect()
    gc.freeze()
    gc.enable()


def _allow_many_files() -> None:
    """Raise the number of files that may be open: each connection is one, and a shell's default is a thousand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * MAX_CONNECTIONS if hard == resource.RLIM_INFINITY else min(4 * MAX_CONNECTIONS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _configuration(
    application: Any, protocol: type[asyncio.Protocol], lifespan: Literal["on", "off"] = "on"
) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=protocol,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        lifespan=lifespan,
        ws="none",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=END_SECONDS,
        h11_max_incomplete_event_size=64 * 1024,
    )


class _Faults(logging.Handler):
    """The faults of uvicorn, in our log; a request that is no HTTP is no fault."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log it."""
        log.error("server_fault", error=record.getMessage().strip(), exc_info=record.exc_info)


def _log_faults() -> None:
    theirs = logging.getLogger("uvicorn.error")
    theirs.handlers, theirs.propagate = [_Faults(logging.ERROR)], False
    theirs.setLevel(logging.ERROR)


class _Server(uvicorn.Server):
    """A server that leaves the signals to us, and says when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answers = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self.answers.set()

    def install_signal_handlers(self) -> None:
        """Do nothing."""

    def capture_signals(self) -> Any:
        """Return a block that captures none."""
        return nullcontext()
