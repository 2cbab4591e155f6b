"""Secrets leave every text that people may see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.redaction import redact, redacted, without_logins
from worker.engine.attempt.excerpt import excerpt_of
from worker.testing import make_job


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://bob:pw@example.org/x", "https://[hidden]@example.org/x"),
        ("amqp://guest:guest@127.0.0.1:5672/", "amqp://[hidden]@127.0.0.1:5672/"),
        ("https://s3/x?X-Amz-Signature=abc&y=1", "https://s3/x?X-Amz-Signature=[hidden]&y=1"),
        ("https://h/?access_token=abc", "https://h/?access_token=[hidden]"),
        ("https://bob:p@ss@example.org/x", "https://[hidden]@example.org/x"),
        ("https://ada:it's-me@h/f.mp4", "https://[hidden]@h/f.mp4"),
        ("read 'https://u:pa/ss@h/f'", "read 'https://[hidden]@h/f'"),
        ("https://host:8080/path@x", "https://host:8080/path@x"),
        ("http://[::1]:80/path@x", "http://[::1]:80/path@x"),
        ("https://h/blob?sv=1&sig=abc", "https://h/blob?sv=1&sig=[hidden]"),
        ("https://h/x?auth=abc&y=1", "https://h/x?auth=[hidden]&y=1"),
        ("Authorization: Bearer abc.def", "Authorization: [hidden]"),
        ('{"token": "a\\"b", "videoId": "x"}', '{"token": "[hidden]", "videoId": "x"}'),
        ('{"Password":"cut sho', '{"Password":"[hidden]"'),
        ('{"token": 123, "x": 1}', '{"token": "[hidden]", "x": 1}'),
        ('{"api_key": ["a", "b"]}', '{"api_key": "[hidden]"}'),
        ("mail me at a@b.c", "mail me at a@b.c"),
        ("https://example.org/@scope/name", "https://example.org/@scope/name"),
    ],
)
def test_text_that_looks_like_a_secret_is_hidden(text, shown):
    assert redact(text) == shown


@given(st.from_regex(r"[a-z0-9]{8,30}", fullmatch=True), st.text(), st.text())
def test_a_known_secret_is_in_no_text(secret, before, after):
    assert secret not in redact(f"{before} {secret} {after}", (secret,))


@pytest.mark.parametrize("secret", ["1", ":", '"', "{", "a"])
def test_facts_stay_facts_whatever_the_secret_is(secret):
    facts = {"frames": 11, "notes": [f"it was {secret}!"], "deep": {"rate": 1.5}}
    shown = redacted(facts, (secret,))
    assert 11 in shown.values()
    assert secret not in str(next(item for item in shown.values() if isinstance(item, list))[0]).replace("[hidden]", "")


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"token": 123, "tasks": [{"api_key": {"a": 1}, "x": 1}]}', '{"tasks": [{"x": 1}]}'),
        (b'{"url": "https://bob:pw@h/x", "password": ["a"]}', '{"url": "https://[hidden]@h/x"}'),
        (b'{"renderOptions": {"key": true}}', '{"renderOptions": {"key": true}}'),
        (b"\xff\xfe secret", "(9 bytes that are not UTF-8)"),
        (b'{"token": 123, "token": 124', '{"token": "[hidden]", "token": "[hidden]"'),
        (b"gar\x00bage", "gar\N{REPLACEMENT CHARACTER}bage"),
    ],
)
def test_the_excerpt_of_a_refused_message_holds_no_secret(body, shown):
    assert excerpt_of(body) == shown


def test_the_document_that_the_database_keeps_has_no_login_and_all_that_a_job_needs_to_run_again():
    data = {
        "sources": ["https://bob:planted@example.org/a?x=1", "nas://b@c/d.mkv", "https://example.org/a?sig=kept"],
        "deep": {"repo_url": "https://planted@example.org/r.git"},
        "token": "planted",
    }
    job = make_job(("x", data), callback_url="https://bob:planted@example.org/callback?token=kept")
    document = job.document()
    assert "planted" not in str(document)
    assert document["callback_url"] == "https://[hidden]@example.org/callback?token=kept"
    assert document["tasks"][0]["data"]["sources"][1:] == data["sources"][1:]


@pytest.mark.parametrize(
    "text",
    [
        "NAS://photos@home/x.mp4",
        "https://hooks.example.com?mail=a@b.com",
        "https://hooks.example.com#a@b.com",
        "https://host:8080/path@x",
        "https://host:8080?mail=a@b.com",
        "s3://arn:aws:s3:eu:1:accesspoint/point/me@x",
        "s3://bucket/me@x",
        "comment=https://me@example.org",
        "by https://me:you@example.org",
        "a/b:c/d@e",
    ],
)
def test_text_that_is_no_url_with_a_login_is_stored_as_it_is(text):
    assert without_logins(text) == text


@pytest.mark.parametrize(
    "url",
    [
        "https://ada:planted@h/f.mp4",
        "HTTPS://planted@h?x=1",
        "https://ada:it's-planted@h/f.mp4",
        'https://ada:it"s-planted@h/f.mp4',
        "https://ada:pa/planted@h/f.mp4",
        "https://ada:pa?planted@h/f.mp4",
        "https://ada:p@planted@h/f.mp4",
        " https://ada:planted@h/f.mp4",
        "https://ada:two planted@h/f.mp4",
        "s3://ada:planted@bucket/key",
    ],
)
def test_a_login_is_stored_in_no_spelling(url):
    assert "planted" not in without_logins(url)
    assert "[hidden]@" in without_logins(url)


def test_the_text_that_a_film_shows_is_stored_as_it_is_even_where_it_is_a_url():
    shown = "https://me@example.org"
    data = {
        "--title": shown,
        "outputs": [{"metadata": {"comment": shown, "token": "planted"}}, {"metadata": f"comment={shown}"}],
        "tracks": [{"options": {"track-name": shown}}],
        "source": shown,
    }
    document = make_job(("x", data), title=shown).document()
    stored = document["tasks"][0]["data"]
    assert document["job_title"] == shown
    assert stored.pop("source") == "https://[hidden]@example.org"
    assert "planted" not in str(stored)
    del data["source"], data["outputs"][0]["metadata"]["token"]
    assert stored == data
