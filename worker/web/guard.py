"""The checks of every request before a handler sees it: host, rate, asker, origin, size; and our headers after."""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser

from worker.web.access import COOKIE, LOCAL, Principal, Tokens
from worker.web.connections import host_of
from worker.web.limits import Buckets, Failures
from worker.web.problems import Refused, problem_response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
BODY_BYTES: Final = 2 * 1024 * 1024
STRANGER_BYTES: Final = 16 * 1024
CHUNK_BYTES: Final = 64 * 1024 * 1024
"""The largest piece of an upload; everything else has at most `BODY_BYTES`."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'{connect}; font-src 'self'; worker-src 'self' blob:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
REVOKED_SECONDS: Final = 1.0
"""The seconds between two checks whether the token of an open answer is still valid."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of the guard."""

    tokens: Tokens
    hosts: frozenset[str] = frozenset()
    proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    @classmethod
    def of(cls, tokens: Tokens, hosts: Iterable[str], proxies: Iterable[str]) -> Rules:
        """Return the rules from texts."""
        networks = tuple(ipaddress.ip_network(text, strict=False) for text in proxies)
        return cls(tokens, frozenset(name.lower() for name in hosts), networks)

    def is_proxy(self, address: str) -> bool:
        """Return whether an address is one of the named proxies."""
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self.proxies)


class _RevokedError(Exception):
    """A token is known no more in the middle of an answer."""


class Guard:
    """The ASGI application around ours. It puts `principal`, `client` and `scheme` into the request's state."""

    def __init__(self, application: ASGIApp, rules: Rules, buckets: Buckets, failures: Failures) -> None:
        self._application = application
        self._rules = rules
        self._buckets = buckets
        self._failures = failures
        self._answers: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        guarded = self._with_headers(scope, send)
        try:
            await self._admit(scope)
            await self._application(scope, _limited_receive(scope, receive, self._most_bytes(scope)), guarded)
        except Refused as error:
            await problem_response(error)(scope, receive, guarded)
        except _RevokedError:
            # The answer has ended already.
            return

    async def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        client, scheme = self._origin_of(scope, headers)
        state = scope.setdefault("state", {})
        state["client"], state["scheme"], state["tokens"] = client, scheme, self._rules.tokens
        state["failures"], state["answers"] = self._failures, self._answers
        self._check_host(headers.get("host", ""))
        if "content-length" in headers and "transfer-encoding" in headers:
            # A proxy in front may disagree with us on where this request ends: request smuggling (RFC 9112, 6.1).
            problem = "a request has a Content-Length or a Transfer-Encoding, not both"
            raise Refused(HTTPStatus.BAD_REQUEST, problem, {"Connection": "close"})
        if wait := self._buckets.take(host_of(client)):
            seconds = str(max(1, round(wait + 0.5)))
            raise Refused(
                HTTPStatus.TOO_MANY_REQUESTS, f"too many requests: wait {seconds} s", {"Retry-After": seconds}
            )
        state["principal"], ambient = await self._who(headers, client)
        if not ambient:
            return
        if scope["method"] in SAFE:
            _check_embedding(headers)
        else:
            self._check_origin(headers, scheme)

    def _most_bytes(self, scope: Scope) -> int:
        """Return how large a request's body may be: a stranger sends no more than a token, and no parser sees more."""
        if scope["state"]["principal"] is None:
            return STRANGER_BYTES
        upload = scope["method"] == "PATCH" and "/uploads/" in scope["path"]
        return CHUNK_BYTES if upload else BODY_BYTES

    def _origin_of(self, scope: Scope, headers: Headers) -> tuple[str, str]:
        """Return the client's address and the scheme as it used it; a proxy's word counts only for a named proxy."""
        peer = scope["client"][0] if scope.get("client") else "local"
        client, scheme = peer, str(scope.get("scheme", "http"))
        if not self._rules.is_proxy(peer):
            return client, scheme
        # a proxy may add a line of its own to one that a client wrote: all lines are one list
        addresses = [part.strip() for part in ",".join(headers.getlist("x-forwarded-for")).split(",") if part.strip()]
        for address in reversed(addresses):
            client = address[:64]
            if not self._rules.is_proxy(address):
                break
        forwarded = ",".join(headers.getlist("x-forwarded-proto")).rpartition(",")[2].strip().lower()
        return client, forwarded if forwarded in {"http", "https"} else scheme

    def _check_host(self, host: str) -> None:
        """Return if the page is called by a name of ours: else a foreign page may have let its own name mean us."""
        if not self._rules.hosts and self._rules.tokens.required:
            return
        if _name_of(host) not in LOOPBACK_NAMES | self._rules.hosts:
            raise Refused(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"{host[:100]!r} is no name of this server; WORKER_SERVE_HOSTS lists the names it answers to",
            )

    async def _who(self, headers: Headers, client: str) -> tuple[Principal | None, bool]:
        """Return who asks, and whether the browser says so by itself, without the page's doing."""
        if not self._rules.tokens.required:
            return LOCAL, True
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            found = self._rules.tokens.principal(token.strip())
            if found is None:
                await self._failures.wait_after(host_of(client))
                raise unauthorized("this token is not known")
            return found, False
        cookie = _cookie(headers.get("cookie", ""))
        return (self._rules.tokens.principal(cookie) if cookie else None), True

    def _is_still_known(self, scope: Scope) -> bool:
        """Return whether who asked has the same role still: an answer may go on for days."""
        principal = scope["state"].get("principal")
        if principal is None or principal == LOCAL:
            return True
        headers = Headers(scope=scope)
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            token = _cookie(headers.get("cookie", ""))
        return bool(self._rules.tokens.principal(token.strip()) == principal)

    def _check_origin(self, headers: Headers, scheme: str) -> None:
        """Return if a form or a script of our own page sent this. Who is no browser sends neither header."""
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site")
        if origin is not None:
            if origin.lower() == f"{scheme}://{headers.get('host', '').lower()}":
                return
        elif site in {"same-origin", None}:
            return
        raise Refused(HTTPStatus.FORBIDDEN, "this request came from another site's page")

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        policy = POLICY.format(connect="")
        checked = time.monotonic()

        async def sending(message: Message) -> None:
            nonlocal checked
            if message.get("more_body") and time.monotonic() - checked > REVOKED_SECONDS:
                checked = time.monotonic()
                if not self._is_still_known(scope):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    raise _RevokedError
            if message["type"] == "http.response.start":
                self._answers[f"{message['status'] // 100}xx"] += 1
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", policy)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                if scope.get("state", {}).get("scheme") == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        return sending


def unauthorized(detail: str) -> Refused:
    """Return the refusal of somebody who is not known."""
    return Refused(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": 'Bearer realm="leveret"'})


def _check_embedding(headers: Headers) -> None:
    """Return if a person opened this, or a page of ours: no other site's page may make a browser ask us in silence."""
    if headers.get("sec-fetch-site") in {"cross-site", "same-site"} and headers.get("sec-fetch-mode") != "navigate":
        raise Refused(HTTPStatus.FORBIDDEN, "this request came from another site's page")


def _limited_receive(scope: Scope, receive: Receive, limit: int) -> Receive:
    """Return `receive`, which refuses a body that is too large: before it is read where its length is stated."""
    length = Headers(scope=scope).get("content-length", "")
    too_large = Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {limit} bytes", {"Connection": "close"}
    )
    if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > limit):  # noqa: PLR2004 - an exabyte
        raise too_large
    seen = 0

    async def receiving() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > limit:
                raise too_large
        return message

    return receiving


def _name_of(host: str) -> str:
    """Return the name in a Host header, without its port."""
    try:
        name = urlsplit(f"//{host.strip()}").hostname or ""
    except ValueError:
        return ""
    return name.lower().rstrip(".")


def _cookie(header: str) -> str:
    """Return the token among the cookies of a host, whatever other servers of that host have put beside it."""
    return cookie_parser(header).get(COOKIE, "")
