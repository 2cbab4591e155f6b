"""Schemathesis sends what the OpenAPI document allows, and what it does not: nothing may be a fault of ours."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.support.web import site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "2"))
"""How many requests each operation gets: `SCHEMA_EXAMPLES=100 pytest tests/unit/test_web_schema.py` sends many."""
BOUNDED = settings(
    max_examples=EXAMPLES,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
STREAMS = ("/events", "/log/stream")


class Loop:
    """A server in a loop of its own, called from a test that knows no loop."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._stack = site(folder)
        self.site = self.run(self._stack.__aenter__())

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def close(self) -> None:
        self.run(self._stack.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            async with self.site.client() as client:
                return await client.request(method, path, **options)

        return self.run(asked())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    with ExitStack() as stack:
        loop = Loop(tmp_path_factory.mktemp("site"))
        stack.callback(loop.close)
        loop.run(loop.site.submit("a-job"))
        loop.run(loop.site.die("b-job"))
        loop.run(loop.site.beat("render-1"))
        yield loop


@pytest.fixture(scope="module")
def document(server: Loop) -> dict[str, Any]:
    found: dict[str, Any] = server.ask("GET", "/api/v1/openapi.json").json()
    found["paths"] = {path: item for path, item in found["paths"].items() if not path.endswith(STREAMS)}
    return found


def test_no_request_is_a_fault_of_the_server_and_every_answer_is_of_its_schema(server, document):
    schema = schemathesis.openapi.from_dict(document)
    faults: list[str] = []
    asked = 0

    for found in schema.get_all_operations():
        operation = found.ok()
        strategy = operation.as_strategy()

        @BOUNDED
        @given(case=strategy)
        def once(case: Any) -> None:
            nonlocal asked
            asked += 1
            complaint = judged(server, case)
            if complaint:
                faults.append(complaint)

        once()
    assert faults == []
    assert asked > 100


def judged(server: Loop, case: Any) -> str:
    """Return what is wrong with the answer to a case, or nothing."""
    arguments = case.as_transport_kwargs(base_url="http://127.0.0.1:8080")
    request = httpx.Request(
        arguments["method"],
        arguments["url"],
        params=arguments.get("params"),
        content=_content(arguments),
        headers={name: value for name, value in (arguments.get("headers") or {}).items() if name.lower() != "host"},
    )
    answer = server.ask(request.method, str(request.url), content=request.content, headers=dict(request.headers))
    where = f"{request.method} {request.url} → {answer.status_code}: {answer.text[:200]}"
    if answer.status_code >= 500 and answer.status_code != 503:
        return where
    if (
        answer.status_code >= 400
        and answer.headers.get("content-type") != "application/problem+json"
        and request.method != "HEAD"
    ):
        return f"no problem: {where}"
    responses = case.operation.definition.raw["responses"]
    if str(answer.status_code) not in responses and answer.status_code not in {400, 404, 405, 413, 416, 421}:
        return f"not in the document: {where}"
    return ""


def _content(arguments: dict[str, Any]) -> bytes | None:
    if "json" in arguments:
        return json.dumps(arguments["json"]).encode()
    data = arguments.get("data")
    return data.encode() if isinstance(data, str) else data if isinstance(data, bytes) else None
