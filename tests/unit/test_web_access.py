"""Who may do what on the page and over the API."""

from __future__ import annotations

import asyncio
import re
import socket

import pytest
from starlette.datastructures import Headers

from tests.support.web import TOKENS, site
from worker.core.errors import Misconfigured
from worker.settings import load
from worker.settings.serve import is_loopback
from worker.web import pages
from worker.web.access import COOKIE, Tokens, digest_of
from worker.web.application import create
from worker.web.dependencies import need
from worker.web.limits import Buckets, Failures
from worker.web.server import listening_socket, require_tokens

ROLES = ("viewer", "operator", "admin")
OPEN = {"/api/v1/uploads": "OPTIONS", "/api/v1/hooks/{name}": "POST"}


def endpoints(application):
    """Return method and path of every endpoint of the API."""
    paths = application._application.openapi()["paths"]
    return [(method.upper(), path) for path, item in paths.items() for method in item]


async def test_every_endpoint_asks_for_a_role_and_each_role_gets_what_it_may(tmp_path):
    async with site(tmp_path, tokens=True) as here:
        table = endpoints(here.application)
        assert len(table) > 35
        viewers, operators = 0, 0
        for method, path in table:
            if OPEN.get(path) == method:
                continue
            address = path.replace("{scheme}", "nas").replace("{path}", "none.mp4").replace("{command}", "pause")
            for name in ("job_id", "worker_id", "name", "module", "upload_id"):
                address = address.replace(f"{{{name}}}", "none")
            statuses = {}
            for role in (None, *ROLES):
                async with here.client(role) as client:
                    if path.endswith("/events"):
                        statuses[role] = 200 if role else (await client.get(address)).status_code
                        continue
                    statuses[role] = (await client.request(method, address)).status_code
            assert statuses[None] == 401, (method, path, statuses)
            allowed = [role for role in ROLES if statuses[role] not in {401, 403}]
            # Whoever may do something, those above may too; and an admin may do everything.
            assert allowed in (["admin"], ["operator", "admin"], list(ROLES)), (method, path, statuses)
            if method in {"POST", "PUT", "PATCH", "DELETE"} and path != "/api/v1/validate":
                assert "viewer" not in allowed, (method, path)
            viewers += "viewer" in allowed
            operators += "operator" in allowed
        assert viewers >= 15
        assert operators > viewers


async def test_a_stranger_is_sent_to_the_login_and_a_wrong_token_is_refused(tmp_path):
    async with site(tmp_path, tokens=True) as here, here.client() as client:
        answer = await client.get("/jobs?state=dead")
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fjobs%3Fstate%3Ddead")
        assert (await client.get("/static/x/page.css")).status_code == 200
        assert (await client.get("/healthz")).text == "ok\n"


async def test_login_sets_a_cookie_that_scripts_cannot_read_and_logout_takes_it_away(tmp_path):
    async with site(tmp_path, tokens=True) as here, here.client() as client:
        origin = {"Origin": "http://127.0.0.1:8080"}
        answer = await client.post("/login", data={"token": TOKENS["viewer"], "next": "/jobs"}, headers=origin)
        assert (answer.status_code, answer.headers["location"]) == (303, "/jobs")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert (await client.get("/jobs")).status_code == 200
        assert (await client.get("/new")).status_code == 403
        assert (await client.post("/jobs/none/cancel", headers=origin)).status_code == 403
        assert TOKENS["viewer"] not in (await client.get("/")).text
        await client.post("/logout", headers=origin)
        client.cookies.clear()
        assert (await client.get("/jobs")).status_code == 303


async def test_a_cookie_of_another_server_of_the_same_host_logs_nobody_out(tmp_path):
    """Cookies know no ports, and browsers send what a strict parser ends at."""
    own = f"leveret_token={TOKENS['viewer']}"
    async with site(tmp_path, tokens=True) as here, here.client() as client:
        for other in ('p={"a":1,"b":[2]}', "a[b]=1", "a=b c", 'a="un', "no-value", "\xe4=1", "expires=1"):
            for cookies in (f"{other}; {own}", f"{own}; {other}"):
                answer = await client.get("/api/v1/jobs", headers={"Cookie": cookies.encode("latin-1")})
                assert answer.status_code == 200, cookies


@pytest.mark.parametrize("path", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"])
async def test_login_leads_nowhere_else(tmp_path, path):
    async with site(tmp_path, tokens=True) as here, here.client() as client:
        answer = await client.post("/login", data={"token": TOKENS["viewer"], "next": path})
        assert answer.headers["location"] == "/"


async def test_each_failed_login_waits_longer_than_the_one_before():
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)

    failures = Failures(clock=lambda: 0.0, sleep=sleep)
    for _ in range(6):
        await failures.wait_after("10.0.0.1")
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


@pytest.mark.parametrize(
    "sent", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}]
)
async def test_a_foreign_page_can_make_a_browser_send_nothing(tmp_path, sent):
    async with site(tmp_path) as here:
        await here.submit("a-job")
        async with here.client(headers=sent) as client:
            for path in ("/jobs/a-job/cancel", "/api/v1/jobs/a-job/cancel"):
                assert (await client.post(path)).status_code == 403
        assert (await here.repository.job("a-job")).state == "queued"
        async with here.client(headers={"Origin": "http://127.0.0.1:8080"}) as client:
            assert (await client.post("/jobs/a-job/cancel")).status_code == 303
        assert (await here.repository.job("a-job")).state == "cancelled"


async def test_a_name_that_was_rebound_to_loopback_is_not_answered(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        for host in ("evil.example:8080", "127.0.0.1.evil.example", ""):
            assert (await client.get("/", headers={"Host": host})).status_code == 421
        for host in ("localhost:8080", "[::1]:8080", "127.0.0.1"):
            assert (await client.get("/", headers={"Host": host})).status_code == 200


def test_an_open_address_without_tokens_is_refused(tmp_path):
    for address in ("0.0.0.0:8080", "[::]:8080", "192.0.2.1:80"):
        settings = load(serve_address=address)
        with pytest.raises(Misconfigured, match="leveret token admin"):
            require_tokens(settings, Tokens.of(settings))
    settings = load(serve_address="127.0.0.1:8080")
    require_tokens(settings, Tokens.of(settings))
    assert is_loopback("::1")
    assert not is_loopback("example.org")


def test_a_line_that_is_taken_out_of_the_file_ends_its_access(tmp_path):
    file = tmp_path / "tokens"
    line = f"operator:anna:{digest_of('lvt_anna')}\n"
    file.write_text(f"# who\n\n{line}viewer:bob:{digest_of('lvt_bob')}\n")
    tokens = Tokens((), file)
    assert tokens.principal("lvt_anna").role == "operator"
    assert tokens.principal("lvt_eve") is None
    file.write_text(f"viewer:bob:{digest_of('lvt_bob')}\n")
    assert tokens.principal("lvt_anna") is None
    assert tokens.principal("lvt_bob").may("viewer")
    file.unlink()
    assert tokens.principal("lvt_bob") is None
    assert tokens.required


def test_a_line_that_is_none_is_reported_without_being_shown(tmp_path):
    file = tmp_path / "tokens"
    file.write_text("operator:anna:lvt_a-token-by-mistake\n")
    with pytest.raises(Misconfigured, match="line 1 is not role:name:sha256") as caught:
        Tokens((), file)
    assert "lvt_a-token" not in str(caught.value)


def test_an_address_that_asks_too_often_waits(tmp_path):
    now = [0.0]
    buckets = Buckets(2.0, 3.0, clock=lambda: now[0])
    assert [buckets.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert buckets.take("b") == 0.0
    now[0] = 0.5
    assert buckets.take("a") == 0.0


async def test_too_many_requests_are_reported_when_to_come_back(tmp_path):
    async with site(tmp_path, serve_requests_per_second=1) as here, here.client() as client:
        statuses = [(await client.get("/healthz")).status_code for _ in range(12)]
        assert statuses[:10] == [200] * 10
        answer = await client.get("/healthz")
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("peer", "client", "scheme"), [("10.1.2.3", "203.0.113.9", "https"), ("203.0.113.1", "203.0.113.1", "http")]
)
async def test_only_a_named_proxy_is_believed(tmp_path, peer, client, scheme):
    async with site(tmp_path, tokens=True, serve_trusted_proxies=("10.0.0.0/8",)) as here:
        guard = here.application
        scope = {"client": (peer, 1), "scheme": "http", "headers": []}
        headers = Headers({"x-forwarded-for": "1.1.1.1, 203.0.113.9", "x-forwarded-proto": "https"})
        assert guard._origin_of(scope, headers) == (client, scheme)


async def test_every_answer_has_its_headers_and_no_inline_script_is_allowed(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        for path in ("/", "/api/v1/jobs", "/nowhere", "/static/x/page.js"):
            answer = await client.get(path)
            policy = answer.headers["content-security-policy"]
            assert "script-src 'self'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
        page = (await client.get("/")).text
        assert "<script>" not in page
        assert " style=" not in page
        assert "http://" not in page.replace("http://127.0.0.1", "")


async def test_a_body_of_a_gigabyte_is_refused_before_it_is_read(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        answer = await client.post("/api/v1/jobs", headers={"Content-Length": str(1 << 30)}, content=b"x")
        assert answer.status_code == 413

        async def endless():
            for _ in range(1000):
                yield b"x" * 65536

        answer = await client.post("/api/v1/jobs", content=endless())
        assert answer.status_code == 413


def test_the_application_is_made_without_services_at_once():
    assert create(load()) is not None
    assert need("viewer").role == "viewer"


FORM = {
    "name": "none", "action": "delete", "job_id": "a-job", "worker_id": "render-1", "text": "{}", "document": "{}",
    "module": "ffmpeg", "options": "{}", "chosen": "{}", "expected": "1", "source": "nas://a.mkv", "template": "poster",
    "variables": "", "count": "1", "scan_id": "none", "submit": "true",
}  # fmt: skip


def forms():
    """Return the address of every form of the page, with a job's name wherever a name is asked for."""
    routes = [route for part in (*pages.FIRST, *pages.LATER) for route in pages.router(part).routes]
    paths = sorted({route.path for route in routes if "POST" in route.methods} - {"/login", "/logout"})
    return [re.sub(r"\{[^}]*\}", "a-job", path.replace("{command}", "pause")) for path in paths]


async def test_no_form_of_the_page_does_anything_for_a_viewer_or_for_another_site(tmp_path):
    ours, theirs = {"Origin": "http://127.0.0.1:8080"}, {"Origin": "https://evil.example"}
    async with site(tmp_path, tokens=True) as here:
        await here.submit("a-job")
        await here.beat("render-1")
        asked = forms()
        assert len(asked) > 8
        for role, headers in (("viewer", ours), ("admin", theirs), ("admin", {"Sec-Fetch-Site": "same-site"})):
            async with here.client(headers=headers | {"Cookie": f"{COOKIE}={TOKENS[role]}"}) as client:
                for path in asked:
                    answer = await client.post(path, data=FORM)
                    # 422 where the form would need other fields; nothing was looked at by then.
                    assert answer.status_code in ({403, 422} if role == "viewer" else {403}), (path, answer.text[:300])
        assert (await here.repository.job("a-job")).state == "queued"
        assert await here.services.views.audit(10) == []
        assert here.broker.published == []


async def test_a_small_answer_waits_for_no_acknowledgement_of_the_client():
    accepted: asyncio.Queue[asyncio.Transport] = asyncio.Queue()

    class Answer(asyncio.Protocol):
        def connection_made(self, transport):
            accepted.put_nowait(transport)

    server = await asyncio.get_running_loop().create_server(
        Answer, sock=listening_socket(load(serve_address="127.0.0.1:0"))
    )
    async with server:
        _, client = await asyncio.open_connection(*server.sockets[0].getsockname())
        transport = await asyncio.wait_for(accepted.get(), 30)
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        transport.close()
        client.close()
        await client.wait_closed()
