"""A small HTTP(S) server of one file, which breaks off, lies and redirects on demand."""

from __future__ import annotations

import ssl
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass
class Site:
    """One file, and what the server does at each request instead of sending it plainly.

    `script` holds one word a request, `ok` when it is used up: `ok`, `cut` (half, then the end), `long` (more than is
    promised), `chunked`, `torn` (chunked, without its end), `endless` (no length), `packed` (says gzip), `shifted`
    (another range), `stuck` (half, then nothing until the client is gone), a status (`404`), or `to URL` (a redirect).
    """

    content: bytes
    script: list[str] = field(default_factory=list)
    tag: str | None = '"v1"'
    ranges: bool = True
    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    posted: list[bytes] = field(default_factory=list)
    change: Callable[[Site], None] | None = None

    @property
    def ranges_asked(self) -> list[str | None]:
        return [headers.get("Range") for headers in self.asked]


class Files(BaseHTTPRequestHandler):
    """Serves the site that its subclass is bound to."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    site: Site

    def log_message(self, *args: object) -> None:
        """Nothing is said of each request."""

    def do_POST(self) -> None:
        self.site.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def _serve(self) -> None:
        site = self.site
        site.asked.append(dict(self.headers.items()) | {"target": self.path})
        word = site.script.pop(0) if site.script else "ok"
        if word.startswith("to "):
            self._head(302, {"Location": word.removeprefix("to "), "Content-Length": "0"})
        elif word.isdigit():
            self._head(int(word), {"Content-Length": "0"})
        else:
            self._send(word)
        if site.change is not None:
            site.change(site)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, word: str) -> None:
        content, total, start = self.site.content, len(self.site.content), 0
        headers = {"Content-Type": "video/mp4; charset=binary"}
        if self.site.tag:
            headers["ETag"] = self.site.tag
        wanted = self.headers.get("Range")
        same = self.headers.get("If-Range") in {None, self.site.tag}
        ranged = wanted is not None and same and self.site.ranges
        if ranged:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start = int(first)
            content = content[start : int(last) + 1 if last else total]
            if not content:
                self._head(416, {"Content-Range": f"bytes */{total}", "Content-Length": "0"})
                return
            shown = start + 1 if word == "shifted" else start
            headers["Content-Range"] = f"bytes {shown}-{start + len(content) - 1}/{total}"
        self._body(206 if ranged else 200, headers, content, word)

    def _body(self, status: int, headers: dict[str, str], content: bytes, word: str) -> None:
        self.close_connection = True
        if word in {"chunked", "torn"}:
            self._head(status, headers | {"Transfer-Encoding": "chunked"})
            self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
            if word == "chunked":
                self.wfile.write(b"0\r\n\r\n")
            return
        if word == "packed":
            headers["Content-Encoding"] = "gzip"
        if word != "endless":
            headers["Content-Length"] = str(len(content))
        self._head(status, headers | {"Connection": "close"})
        self.wfile.write(content[: len(content) // 2] if word in {"cut", "stuck"} else content)
        if word == "stuck":
            self.wfile.flush()
            self.rfile.read(1)
        if word == "long":
            self.wfile.write(b"and more than was promised")


@contextmanager
def serving(site: Site, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Site]:
    server = ThreadingHTTPServer((host, 0), type("BoundFiles", (Files,), {"site": site}))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "http" if tls is None else "https"
    site.url = f"{scheme}://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def certificates(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what a server called localhost shows, and what a client that trusts it needs."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    named = ("-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate))
    subprocess.run((*made.split(), *named), check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))
