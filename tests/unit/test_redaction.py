"""Secrets leave every text that people may see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.redaction import redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://bob:pw@example.org/x", "https://[hidden]@example.org/x"),
        ("amqp://guest:guest@127.0.0.1:5672/", "amqp://[hidden]@127.0.0.1:5672/"),
        ("https://s3/x?X-Amz-Signature=abc&y=1", "https://s3/x?X-Amz-Signature=[hidden]&y=1"),
        ("https://h/?access_token=abc", "https://h/?access_token=[hidden]"),
        ("https://bob:p@ss@example.org/x", "https://[hidden]@example.org/x"),
        ("https://h/blob?sv=1&sig=abc", "https://h/blob?sv=1&sig=[hidden]"),
        ("https://h/x?auth=abc&y=1", "https://h/x?auth=[hidden]&y=1"),
        ("Authorization: Bearer abc.def", "Authorization: [hidden]"),
        ('{"token": "a\\"b", "videoId": "x"}', '{"token": "[hidden]", "videoId": "x"}'),
        ('{"Password":"cut sho', '{"Password":"[hidden]"'),
        ("mail me at a@b.c", "mail me at a@b.c"),
        ("https://example.org/@scope/name", "https://example.org/@scope/name"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text, shown):
    assert redact(text) == shown


@given(st.from_regex(r"[a-z0-9]{8,30}", fullmatch=True), st.text(), st.text())
def test_a_known_secret_is_in_no_text(secret, before, after):
    assert secret not in redact(f"{before} {secret} {after}", (secret,))
