"""The campaign's search for secrets finds what is planted, in the open, compressed and encoded."""

from __future__ import annotations

import base64

import pytest

from tests.chaos.planted import KINDS, TO_RUN_AGAIN, content_of, found_in, of_jobs, unseen
from worker.engine.attempt.tool_log import packed

SECRETS = of_jobs(7)


@pytest.mark.parametrize(
    "hide",
    [
        lambda text: content_of(f"ls: {text}: no such file"),
        lambda text: content_of({"deep": [{"er": text}]}),
        lambda text: content_of(packed(f"[0.1 s] $ ls {text}\n")),
        lambda text: content_of(f"x\x00{text}".encode()),
        lambda text: b"Basic " + base64.b64encode(f"x-access-token:{text}".encode()),
    ],
)
def test_a_secret_is_found_however_it_is_stored(hide):
    secret = SECRETS["field"]
    texts = [("the log a", b"nothing"), ("database jobs.facts", hide(secret.text))]
    assert found_in(texts, SECRETS.values()) == ["the field stands in database jobs.facts"]


def test_a_secret_that_a_retry_needs_is_allowed_in_its_message_and_nowhere_else():
    callback = SECRETS["callback"]
    assert callback.allowed == TO_RUN_AGAIN
    assert not SECRETS["userinfo"].allowed
    texts = [(place, callback.text.encode()) for place in (*sorted(TO_RUN_AGAIN), "database jobs.error")]
    assert found_in(texts, SECRETS.values()) == ["the callback stands in database jobs.error"]


def test_a_search_that_reads_nothing_of_a_place_is_reported_so():
    callback = SECRETS["callback"]
    texts = [(f"{kind}x", b"") for kind in KINDS[1:]]
    complaints = unseen(texts, [callback])
    assert complaints == ["nothing was read of the log ", "the callback was not found where it must stand"]
    texts += [("the log a", b""), ("database jobs.document", callback.text.encode())]
    assert unseen(texts, [callback]) == []


def test_secrets_are_as_many_texts_as_places_and_others_for_another_seed():
    texts = {secret.text for seed in (7, 8) for secret in of_jobs(seed).values()}
    assert len(texts) == 2 * len(SECRETS)
    assert all(len(text) == 24 for text in texts)
