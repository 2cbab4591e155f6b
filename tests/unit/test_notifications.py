"""What a notification says, that its secrets are shown nowhere, and that a receiver can prove who sent it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.command_line import one_line
from tests.support.web import site
from worker.adapters.notifying import NotificationSender, check_address
from worker.control.intake.notifications import checked_notification
from worker.core.errors import InvalidJob, RefusedPath, StorageUnavailable
from worker.core.notification import Message, Notice, Notification
from worker.core.signature import TOLERANCE_SECONDS, is_signed, is_signed_by_github, signature

SHARED = "what both sides of a test know"


def message(*titles, state="dead"):
    notices = tuple(
        Notice(job_id=f"j{n}", epoch=1, state=state, title=title, ended_at=datetime.now(UTC), error="no\nthing")
        for n, title in enumerate(titles)
    )
    return Message(notification="phone", notices=notices, counts={state: len(notices)})


@asynccontextmanager
async def receiver(status=200):
    """Yield an address, and the requests (head, body) that come there."""
    seen = []

    async def answer(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line[15:]) for line in head.splitlines() if line.lower().startswith("content-length:"))
        seen.append((head, await reader.readexactly(length)))
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", seen


async def test_a_webhook_proves_who_sent_it_and_when(monkeypatch):
    async with receiver() as (address, seen):
        notification = Notification(url=f"http://{address}/hook", secret=SHARED)
        await NotificationSender(allow_private=True)(notification, message("a film"))
    head, body = seen[0]
    header = next(line.partition(": ")[2] for line in head.splitlines() if line.lower().startswith("x-leveret-sig"))
    document = json.loads(body)
    assert document["jobs"][0]["title"] == "a film"
    assert is_signed(SHARED, header, body, document["sent_at"])
    assert not is_signed(SHARED, header, body + b" ", document["sent_at"])
    assert not is_signed("another secret", header, body, document["sent_at"])
    assert not is_signed(SHARED, header, body, document["sent_at"] + TOLERANCE_SECONDS + 1)
    assert f"x-leveret-delivery: {document['delivery']}" in head.lower()


async def test_a_webhook_reaches_public_addresses_only_and_a_refusal_is_an_error():
    async with receiver(500) as (address, seen):
        notification = Notification(url=f"http://{address}/hook", secret=SHARED)
        with pytest.raises(RefusedPath):
            await NotificationSender()(notification, message("a film"))
        assert seen == []
        with pytest.raises(StorageUnavailable):
            await NotificationSender(allow_private=True)(notification, message("a film"))
        # Once: the database knows when it is tried again.
        assert len(seen) == 1


async def test_apprise_sends_words_for_people():
    async with receiver() as (address, seen):
        await NotificationSender()(Notification(url=f"json://{address}/"), message("a\nfilm", "another"))
        body = json.loads(seen[0][1])
    assert body["title"] == "Leveret: 2 jobs ended: 2 dead"
    assert body["message"].splitlines() == ["dead  a film (j0): no thing", "dead  another (j1): no thing"]
    async with receiver(500) as (address, _):
        with pytest.raises(StorageUnavailable, match="json://… did not take the message"):
            await NotificationSender()(Notification(url=f"json://{address}/"), message("a film"))


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({"url": "nonsense://x/y"}, "no address that Apprise knows"),
        ({"url": "https://example.org/hook"}, "needs a secret"),
        ({"url": "https://example.org/hook", "secret": "short"}, "at least 16"),
        ({"url": "mailto://x", "kind": "webhook", "secret": SHARED}, "begins with https://"),
        ({"url": "json://x/", "states": ["queued"]}, "states"),
        ({"url": "json://x/", "sates": ["dead"]}, "did you mean 'states'?"),
        ({"url": "json://x/", "digest_seconds": -1}, "digest_seconds"),
        ([], ""),
    ],
)
def test_a_wrong_notification_is_refused_with_the_reason(document, word):
    with pytest.raises(InvalidJob) as caught:
        checked_notification("phone", document, check_address)
    assert word in " ".join(map(str, caught.value.problems))
    with pytest.raises(InvalidJob, match="is no name"):
        checked_notification("Phone!", {"url": "json://x/"}, check_address)


def test_the_command_line_stores_and_lists_without_showing_a_secret(cli):
    secrets = ("top-secret-path", SHARED)
    file = cli.write("hook.json", json.dumps({"url": f"https://example.org/{secrets[0]}", "secret": SHARED}))
    shown = [cli.type("notifications", "put", "hook", file)]
    shown += [cli.type("notifications", *words) for words in (("list",), ("list", "--json"), ("get", "hook"))]
    assert [answer.code for answer in shown] == [0] * 4
    assert not any(word in answer.out + answer.err for answer in shown for word in secrets)
    # What is shown can be stored again: the secrets stay.
    again = json.loads(shown[-1].out) | {"states": ["completed"]}
    assert cli.type("notifications", "put", "hook", cli.write("again.json", json.dumps(again))).code == 0
    (stored,) = cli.ask(lambda repository: repository.notifications())
    assert (stored.notification.secret, stored.notification.states) == (SHARED, ("completed",))
    assert stored.notification.url.endswith(secrets[0])
    assert "did you mean 'hook'?" in one_line(cli.type("notifications", "get", "hok"))
    assert cli.type("notifications", "delete", "hook").code == 0
    assert "no notification" in one_line(cli.type("notifications", "delete", "hook"))
    assert "no notifications" in cli.type("notifications", "list").out


async def test_the_api_takes_them_of_admins_and_shows_no_secret(tmp_path):
    async with receiver() as (address, seen), site(tmp_path, tokens=True, allow_private_addresses=True) as here:
        document = {"url": f"http://{address}/top-secret-path", "secret": SHARED}
        async with here.client("operator") as client:
            assert (await client.put("/api/v1/notifications/hook", json=document)).status_code == 403
        async with here.client("admin") as client:
            stored = await client.put("/api/v1/notifications/hook", json=document)
            assert stored.status_code == 200
            assert (await client.put("/api/v1/notifications/x", json={"url": "z"})).status_code == 422
            assert (await client.post("/api/v1/notifications/hook/test")).status_code == 204
            assert json.loads(seen[0][1])["jobs"][0]["job_id"] == "sample"
            assert (await client.get("/api/v1/notifications/none")).status_code == 404
        async with here.client("viewer") as client:
            listed = await client.get("/api/v1/notifications")
        for answer in (stored, listed):
            assert "top-secret-path" not in answer.text
            assert SHARED not in answer.text
        assert "top-secret-path" not in json.dumps([dict(e) for e in await audit(here)], default=str)


async def audit(here):
    return [
        entry.__dict__ if hasattr(entry, "__dict__") else {"e": str(entry)}
        for entry in await here.services.views.audit(50, None)
    ]


def test_githubs_signature_is_of_the_raw_body():
    # The example of GitHub's documentation, "Validating webhook deliveries".
    stated = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    phrase = "It's a Secret to Everybody"
    assert is_signed_by_github(phrase, stated, b"Hello, World!")
    assert not is_signed_by_github(phrase, stated, b"Hello, World! ")
    assert not is_signed_by_github(phrase, "", b"Hello, World!")
    assert not is_signed_by_github(phrase, "sha256=ü", b"Hello, World!")
    assert not is_signed(SHARED, "t=1,v1=zz", b"", 1.0)
    assert is_signed(SHARED, signature(SHARED, 100, b"x"), b"x", 100 + TOLERANCE_SECONDS)


async def test_the_receiver_of_the_how_to_accepts_what_is_sent():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "notifications.md").read_text()
    names = {}
    exec(page.partition("```python\n")[2].partition("```")[0], names)  # noqa: S102 - the page's own code
    async with receiver() as (address, seen):
        notification = Notification(url=f"http://{address}/hook", secret=SHARED)
        await NotificationSender(allow_private=True)(notification, message("a film"))
    head, body = seen[0]
    header = next(line.partition(": ")[2] for line in head.splitlines() if line.lower().startswith("x-leveret-sig"))
    assert names["is_genuine"](SHARED, header, body)
    assert not names["is_genuine"](SHARED, header, body + b" ")
