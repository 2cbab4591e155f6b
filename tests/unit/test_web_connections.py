"""Clients that hold the server up over a real socket: what each may take, and that others are served meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.web import TOKENS, site
from worker.web.connections import Limits, host_of, limited_protocol
from worker.web.server import _configuration, _Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import uvicorn

QUICK = Limits(head_seconds=0.4, body_seconds=0.4, send_seconds=0.4, look_seconds=0.1, most_of_one=8)
VALIDATE = "POST /api/v1/validate HTTP/1.1\r\nHost: 127.0.0.1\r\n"
BEARER = f"Authorization: Bearer {TOKENS['operator']}\r\n"


@asynccontextmanager
async def listening(folder: Path, limits: Limits) -> AsyncIterator[int]:
    """Yield the port of a server with tokens, in this process."""
    (folder / "nas").mkdir(exist_ok=True)
    with (folder / "nas" / "large.mp4").open("wb") as file:
        file.truncate(1 << 30)
    async with site(folder, tokens=True) as here:
        server = _Server(_configuration(here.application, limited_protocol(limits, lambda _: False), lifespan="off"))
        server.config.port = 0
        serving = asyncio.create_task(_served(server))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield server.servers[0].sockets[0].getsockname()[1]
        finally:
            server.should_exit = True
            await serving


async def _served(server: uvicorn.Server) -> None:
    await server.serve()


async def ended(reader: asyncio.StreamReader, seconds: float = 30) -> bytes:
    """Return what came until the server ended the connection."""
    async with asyncio.timeout(seconds):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def answer(port: int, head: str) -> bytes:
    """Return the first line of an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{head}Host: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    try:
        return (await ended(reader)).partition(b"\r\n")[0]
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("begin", "trickle"),
    [
        ("", ""),
        ("", "G"),
        ("GET / HTTP/1.1\r\n", "X-A: b\r\n"),
        (f"{VALIDATE}{BEARER}Content-Length: 100000\r\n\r\n", "[[["),
        (f"{VALIDATE}{BEARER}Transfer-Encoding: chunked\r\n\r\n", "1\r\n[\r\n"),
    ],
    ids=["nothing", "a letter at a time", "a header at a time", "a slow body", "a slow chunked body"],
)
async def test_a_client_that_trickles_is_let_go(begin: str, trickle: str, tmp_path: Path) -> None:
    async with listening(tmp_path, QUICK) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begin.encode())
        gone = asyncio.create_task(ended(reader))
        try:
            while not gone.done():
                writer.write(trickle.encode())
                await asyncio.wait({gone}, timeout=0.05)
            assert b"200" not in gone.result()[:12]
        finally:
            writer.close()


async def test_an_answer_that_nobody_reads_is_dropped(tmp_path: Path) -> None:
    async with listening(tmp_path, QUICK) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(f"GET /api/v1/files/nas/large.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\n{BEARER}\r\n".encode())
        transport = writer.transport
        transport.pause_reading()
        others = [await answer(port, "GET /healthz HTTP/1.1\r\n")]
        async with asyncio.timeout(30):
            # nothing of it is read here: a connection that is gone fails when it is written to
            while not transport.is_closing():
                writer.write(b" ")
                await asyncio.sleep(0.05)
        assert others == [b"HTTP/1.1 200 OK"]
        assert reader.at_eof() or transport.is_closing()
        writer.close()


async def test_one_host_cannot_have_all_connections(tmp_path: Path) -> None:
    patient = Limits(most_of_one=8)
    async with listening(tmp_path, patient) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await ended(reader) == b""
        writer.close()
        for _, other in held:
            other.close()
            await other.wait_closed()
        async with asyncio.timeout(30):
            while await answer(port, "GET /healthz HTTP/1.1\r\n") != b"HTTP/1.1 200 OK":
                await asyncio.sleep(0.05)


async def test_a_request_with_two_ends_is_refused(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits()) as port:
        both = f"POST /api/v1/validate HTTP/1.1\r\n{BEARER}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"
        assert b" 400 " in await answer(port, both)
        twice = f"POST /api/v1/validate HTTP/1.1\r\n{BEARER}Content-Length: 4\r\nContent-Length: 5\r\n"
        assert b" 400 " in await answer(port, twice)
        odd = f"POST /api/v1/validate HTTP/1.1\r\n{BEARER}Transfer-Encoding: xchunked\r\n"
        assert b" 200 " not in await answer(port, odd)


async def test_the_head_of_a_large_file_is_answered_without_reading_it(tmp_path: Path) -> None:
    async with listening(tmp_path, Limits()) as port:
        taken = _bytes_read()
        assert b" 200 " in await answer(port, f"HEAD /api/v1/files/nas/large.mp4 HTTP/1.1\r\n{BEARER}")
        assert _bytes_read() - taken < 50 << 20


def _bytes_read() -> int:
    """Return the bytes that this process has read from files and sockets."""
    with open("/proc/self/io", encoding="ascii") as file:  # noqa: PTH123 - a fact of the kernel
        return int(file.readline().split()[1])


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("local", "local"),
        ("", ""),
    ],
)
def test_a_customer_of_a_provider_is_one_host(address: str, host: str) -> None:
    assert host_of(address) == host
