"""A server of repositories over https, on loopback, that wants a token."""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "ghp_very-secret/token+1="  # noqa: S105 - of nobody
ENCODED = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()


class _Smart(BaseHTTPRequestHandler):
    """git's own HTTP backend behind TLS; it wants the token, redirects, or says nothing at all."""

    root: Path

    def log_message(self, *_args: object) -> None:
        return

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        wanted = f"Basic {ENCODED}"
        if path.startswith("/moved"):
            self._bare(301, Location=f"/origin{path.removeprefix('/moved')}?{query}")
        elif path.startswith("/gone"):
            self._bare(404)
        elif path.startswith("/sick"):
            self._bare(503)
        elif path.startswith("/slow"):
            self.connection.recv(1)  # until the other side gives up
        elif path.startswith("/page"):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", "21")
            self.end_headers()
            self.wfile.write(b"<html>\nhello\n</html>\n")
        elif self.headers.get("Authorization") != wanted:
            self._bare(401, **{"WWW-Authenticate": "Basic realm=x"})
        else:
            self._backend(path, query)

    def _bare(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _backend(self, path: str, query: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        cgi = {
            "GIT_PROJECT_ROOT": str(self.root), "GIT_HTTP_EXPORT_ALL": "1", "REQUEST_METHOD": self.command,
            "PATH_INFO": path, "QUERY_STRING": query, "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""), "PATH": os.environ["PATH"],
        }  # fmt: skip
        done = subprocess.run(("git", "http-backend"), env=cgi, input=body, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        self.send_response(200)
        for line in head.decode().splitlines():
            name, _, value = line.partition(": ")
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the address of the repositories in `folder`, and the certificate that proves it."""
    names = ("-subj", "/CN=git.example.org", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    subprocess.run(
        ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names,
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"),
        check=True, capture_output=True,
    )  # fmt: skip
    handler = type("Bound", (_Smart,), {"root": folder})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{httpd.server_port}", folder / "cert.pem"
        httpd.shutdown()
        thread.join()
