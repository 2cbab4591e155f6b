"""Requests to a server's API, and what its answers mean."""

from __future__ import annotations

import asyncio
import json
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import httpx

from worker.control.errors import Conflict, NotFound, Refused
from worker.core import errors
from worker.core.errors import InvalidJob, LeveretError, Misconfigured, Problem, ServerUnavailable
from worker.settings.serve import is_loopback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 60.0
AWAY_SECONDS: Final = 60.0
"""The seconds for which a server that answered before may be away: it may be restarted at any time."""
AGAIN_SECONDS: Final = 0.5
MAX_WAITS: Final = 10
LONGEST_WAIT: Final = 30.0
PREFIX: Final = "/api/v1"
PROBLEM: Final = "urn:leveret:"
LINES: Final = "application/x-ndjson"
STREAM_SECONDS: Final = 60.0
"""The seconds for which a stream may be silent: the server sends an empty line every few seconds while it works."""


class Link:
    """One server: its address, and the client that holds the token."""

    def __init__(self, address: str, client: httpx.AsyncClient) -> None:
        self.address = address
        self._client = client
        self._answered = False

    async def ask(self, *path: str, **query: object) -> Any:
        """Return what a GET answers; one that is cut off is sent again, once the server has answered before."""
        started = time.monotonic()
        while True:
            try:
                return await self.send("GET", *path, query=query)
            except ServerUnavailable:
                if not self._answered or time.monotonic() - started > AWAY_SECONDS:
                    raise
            await asyncio.sleep(AGAIN_SECONDS)

    async def greet(self) -> Mapping[str, Any]:
        """Return who the server says it is, and we are."""
        found = await self.ask("whoami")
        if not isinstance(found, dict) or not {"name", "role", "version"} <= found.keys():
            raise Misconfigured(f"{self.address} answers, but is no Leveret server: is LEVERET_SERVER right?")
        return found

    async def send(
        self,
        method: str,
        *path: str,
        query: Mapping[str, object] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = ANSWER_SECONDS,
    ) -> Any:
        """Return what the server answers, None for nothing; the error that it reports otherwise.

        Every part of the path is quoted whole. ServerUnavailable when the server does not answer: what was sent may
        have been done then.
        """
        url = _url(path)
        content = {"content": body, "headers": {"Content-Type": "application/json"} | dict(headers or {})}
        options = content if body is not None else {"headers": dict(headers or {})}
        timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS)
        for turn in range(MAX_WAITS):
            try:
                answer = await self._client.request(
                    method, url, params=_parameters(query or {}), timeout=timeout, **options
                )
            except httpx.TransportError as error:
                raise self._unavailable(error) from error
            if answer.status_code != HTTPStatus.TOO_MANY_REQUESTS or turn == MAX_WAITS - 1:
                break
            await asyncio.sleep(_wait_of(answer))
        return self._value_of(answer)

    async def put(self, document: Any, *path: str) -> Any:
        """Return what the server stored, of a value that is sent as JSON; errors as `send`."""
        return await self.send("PUT", *path, body=json.dumps(document).encode())

    async def stream(self, method: str, *path: str, body: bytes) -> AsyncIterator[dict[str, Any]]:
        """Yield the lines of a streamed answer; raise the error that the server reports, instead of it or at its end.

        ServerUnavailable when it ends without its last line: what was done until then stays done.
        """
        url, timeout = _url(path), httpx.Timeout(STREAM_SECONDS, connect=CONNECT_SECONDS)
        headers = {"Content-Type": "application/json"}
        try:
            for turn in range(MAX_WAITS):
                async with self._client.stream(method, url, content=body, headers=headers, timeout=timeout) as answer:
                    if answer.status_code != HTTPStatus.TOO_MANY_REQUESTS or turn == MAX_WAITS - 1:
                        async for line in self._lines_of(answer):
                            yield line
                        return
                await asyncio.sleep(_wait_of(answer))
        except httpx.TransportError as error:
            raise self._unavailable(error) from error

    async def _lines_of(self, answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
        if not answer.headers.get("content-type", "").startswith(LINES):
            await answer.aread()
            self._value_of(answer)
            raise self._stranger(answer)
        self._answered = True
        async for text in answer.aiter_lines():
            line = _object(text)
            match line:
                case {"problem": dict() as problem}:
                    raise self._problem(HTTPStatus.OK, problem)
                case {"end": _}:
                    return
                case dict():
                    yield line
        raise httpx.ReadError("the answer ended before its last line")

    def _unavailable(self, error: httpx.TransportError) -> ServerUnavailable:
        match error:
            case httpx.ConnectError():
                cause = str(error) or "it cannot be reached"
            case httpx.TimeoutException():
                cause = "no answer in time"
            case _:
                cause = "the connection ended before the answer"
        return ServerUnavailable(f"the server {self.address} does not answer ({cause}): is LEVERET_SERVER right?")

    def _value_of(self, answer: httpx.Response) -> Any:
        if answer.is_redirect:
            place = answer.headers.get("location", "elsewhere")[:200]
            raise Misconfigured(f"the server {self.address} sends us to {place}: LEVERET_SERVER is where it answers")
        try:
            document = answer.json() if answer.content else None
        except ValueError:
            document = ...
        if answer.is_success and document is not ...:
            self._answered = True
            return document
        if not isinstance(document, dict) or not str(document.get("type", "")).startswith(PROBLEM):
            raise self._stranger(answer)
        self._answered = True
        raise self._problem(answer.status_code, document)

    def _stranger(self, answer: httpx.Response) -> LeveretError:
        """Return what is said of an answer that is none of a Leveret server: a proxy's, or another program's."""
        status = f"{answer.status_code} {answer.reason_phrase}".strip()
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return ServerUnavailable(f"the server {self.address} does not answer ({status})")
        return Misconfigured(f"{self.address} answers, but is no Leveret server ({status}): is LEVERET_SERVER right?")

    def _problem(self, status: int, document: Mapping[str, Any]) -> LeveretError:
        detail = str(document.get("detail", "")) or f"the server answers {status}"
        if status == HTTPStatus.UNAUTHORIZED:
            if "authorization" in self._client.headers:
                return Misconfigured(f"the server {self.address} does not know this token: is LEVERET_TOKEN right?")
            return Misconfigured(f"the server {self.address} asks for a token: set LEVERET_TOKEN")
        return _error(str(document["type"]).removeprefix(PROBLEM), detail, document.get("problems") or ())


def _error(name: str, detail: str, problems: Any) -> LeveretError:
    """Return the error that the server reports, of the class that the use case raises."""
    if name == InvalidJob.__name__ and problems:
        return InvalidJob(Problem(str(one.get("path", "")), str(one.get("message", ""))) for one in problems)
    kind: Any = {"NotFound": NotFound, "Conflict": Conflict}.get(name) or getattr(errors, name, Refused)
    if isinstance(kind, type) and issubclass(kind, LeveretError) and kind is not InvalidJob:
        return kind(detail)
    return Refused(detail)


def _url(path: Sequence[str]) -> str:
    return PREFIX + "".join(f"/{quote(part, safe='')}" for part in path)


def _object(text: str) -> dict[str, Any] | None:
    """Return a line of a streamed answer; None for an empty one, which is a sign of life."""
    try:
        found = json.loads(text) if text.strip() else None
    except ValueError as error:
        raise httpx.RemoteProtocolError("a line of the answer is no JSON") from error
    return found if isinstance(found, dict) else None


def _parameters(query: Mapping[str, object]) -> dict[str, str]:
    """Return the query's values as text; None is left out."""
    words = {True: "true", False: "false"}
    return {
        key: words[value] if isinstance(value, bool) else str(value)
        for key, value in query.items()
        if value is not None
    }


def _wait_of(answer: httpx.Response) -> float:
    try:
        return min(LONGEST_WAIT, max(0.0, float(answer.headers.get("retry-after", "1"))))
    except ValueError:
        return 1.0


def client_of(address: str, token: str) -> httpx.AsyncClient:
    """Return a client of this server; a redirect is not followed, as the token is for nobody else."""
    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    host = httpx.URL(address).host
    # A proxy of the environment is for other hosts: it must not see a token that goes to this one.
    # Who goes without TLS does not pay for reading the certificates of this host.
    tls = address.startswith("https://")
    return httpx.AsyncClient(base_url=address, headers=headers, trust_env=not is_loopback(host), verify=tls)
