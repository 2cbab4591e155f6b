"""A small HTTP proxy in front of one server, which fails on demand."""

from __future__ import annotations

import http.client
import select
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 64 * 1024
SLOW_DOWN = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your rate</Message></Error>'


@dataclass
class Faults:
    """What goes wrong: the first `count` requests of `method` whose target holds `target` meet `kind`.

    Kinds: `500`, `503` (SlowDown), `refuse` (the connection is closed unanswered), `cut` (half of the answer's body,
    then the end), `lost` (the server does it, and its answer never arrives), `slow` (the server never hears of it, and
    the connection stays open a second), `plain` (the answer does not say that it is a range).
    """

    endpoint: str = ""
    kind: str = ""
    method: str = ""
    target: str = ""
    count: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, kind: str, method: str, count: int, target: str = "") -> None:
        with self._lock:
            self.kind, self.method, self.count, self.target = kind, method, count, target
            self.seen.clear()

    def met(self, method: str, target: str) -> str:
        with self._lock:
            self.seen[method] += 1
            if self.count and method == self.method and self.target in target:
                self.count -= 1
                return self.kind
        return ""


@contextmanager
def proxied(upstream: str) -> Iterator[Faults]:
    faults = Faults()
    handler = type("BoundProxy", (Proxy,), {"address": urlsplit(upstream).netloc, "faults": faults})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    faults.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield faults
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Proxy(BaseHTTPRequestHandler):
    """Passes a request on as it was signed, or lets it fail as planned."""

    protocol_version = "HTTP/1.1"
    address = ""
    faults = Faults()
    timeout = 30

    def log_message(self, *args: object) -> None:
        """Nothing is said of each request."""

    def _pass_on(self) -> None:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.faults.met(self.command, self.path)
        if kind in {"refuse", "slow"}:
            if kind == "slow":
                # Until the client gives up.
                select.select([self.connection], [], [], 1.0)
            self.close_connection = True
            return
        if kind.isdigit():
            self._answer(int(kind), {"Content-Type": "application/xml"}, SLOW_DOWN if kind == "503" else b"")
            return
        status, headers, content = self._ask(body)
        if kind == "lost":
            self.close_connection = True
            return
        if kind == "plain":
            status, headers = 200, {name: value for name, value in headers.items() if name != "Content-Range"}
        self._answer(status, headers, content, cut=kind == "cut")

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        server = http.client.HTTPConnection(self.address, timeout=30)
        try:
            server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                # The Host that the client signed must reach the server as it is.
                if name.lower() != "expect":
                    server.putheader(name, value)
            server.endheaders(body)
            response = server.getresponse()
            content = response.read()
            return response.status, dict(response.getheaders()), content
        finally:
            server.close()

    def _answer(self, status: int, headers: dict[str, str], content: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                self.send_header(name, value)
        length = headers.get("Content-Length", len(content)) if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = self.close_connection or cut

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815 - http.server's names
