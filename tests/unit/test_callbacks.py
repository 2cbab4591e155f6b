"""Callbacks without harm: a few at a time, one receiver not at the expense of others, and what is left stays due."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from worker.core.errors import StorageUnavailable
from worker.core.record import ArtifactRecord, JobRecord
from worker.engine.host import callbacks
from worker.engine.host.callbacks import AT_ONCE, AT_ONE_RECEIVER, MAX_ARTIFACTS, MAX_WAITING, Callbacks, document_of

SILENT, GOOD = "https://silent.example.org/done", "https://good.example.org/done"


@dataclass
class Rows:
    """The callbacks that are due, as the database keeps them."""

    due: dict[str, str]
    done: dict[str, str | None] = field(default_factory=dict)

    async def job(self, job_id: str) -> JobRecord:
        return record(job_id)

    async def callback_done(self, job_id: str, *, error: str | None = None) -> None:
        self.done[job_id] = error
        self.due.pop(job_id, None)

    async def pending_callbacks(self, _seconds: float, limit: int) -> list[tuple[str, str]]:
        return list(self.due.items())[:limit]


class Receivers:
    """Takes what is posted; the silent one answers to nobody until it is let."""

    def __init__(self) -> None:
        self.answer = asyncio.Event()
        self.under_way: dict[str, int] = {SILENT: 0, GOOD: 0}
        self.most: dict[str, int] = {SILENT: 0, GOOD: 0}
        self.taken: list[str] = []

    async def __call__(self, url: str, document: str) -> None:
        self.under_way[url] += 1
        self.most[url] = max(self.most[url], self.under_way[url])
        try:
            if url == SILENT:
                await self.answer.wait()
                raise StorageUnavailable("it did not answer")
            await asyncio.sleep(0)
            self.taken.append(json.loads(document)["job_id"])
        finally:
            self.under_way[url] -= 1


def record(job_id: str, artifacts: int = 0) -> JobRecord:
    facts = {"media_type": "x", "bytes": 1, "sha256": ""}
    made = [
        ArtifactRecord(role="segment" if place else "manifest", uri=f"s3://b/{place}", **facts)
        for place in reversed(range(artifacts))
    ]
    return JobRecord(
        job_id=job_id, title="t", state="completed", round=1, lane="cpu", priority="normal", dialect="canonical",
        created_at=datetime.now(UTC), artifacts=made,
    )  # fmt: skip


async def settled(ours: Callbacks) -> None:
    async with asyncio.timeout(10):
        while ours._tasks:
            await asyncio.wait(set(ours._tasks.values()))
            await asyncio.sleep(0)


async def test_a_silent_receiver_takes_few_places_and_keeps_no_other_one_waiting():
    rows = Rows({f"s{number}": SILENT for number in range(20)} | {f"g{number}": GOOD for number in range(20)})
    posts = Receivers()
    ours = Callbacks(rows, posts)
    for job_id, url in list(rows.due.items()):
        ours.begin(job_id, url)
    async with asyncio.timeout(10):
        while len(posts.taken) < 20:
            await asyncio.sleep(0)
    assert posts.most[SILENT] == AT_ONE_RECEIVER
    assert posts.most[GOOD] <= AT_ONCE
    posts.answer.set()
    await settled(ours)
    assert sum(error is not None for error in rows.done.values()) == AT_ONE_RECEIVER
    assert len(rows.due) == 20 - AT_ONE_RECEIVER, "the others stay due in the database"
    assert ours.begin("s9", SILENT) is None, "it rests"


async def test_thousands_of_callbacks_wait_in_the_database():
    posts = Receivers()
    ours = Callbacks(Rows({}), posts)
    begun = [ours.begin(f"j{number}", SILENT) for number in range(5000)]
    assert sum(task is not None for task in begun) == len(ours._tasks) == MAX_WAITING
    posts.answer.set()
    await settled(ours)
    assert posts.most[SILENT] <= AT_ONE_RECEIVER


async def test_one_that_takes_too_long_is_over_and_leaves_its_place(monkeypatch):
    monkeypatch.setattr(callbacks, "POST_SECONDS", 0.05)
    rows = Rows({"a": SILENT})
    ours = Callbacks(rows, Receivers())
    ours.begin("a", SILENT)
    await settled(ours)
    assert "longer than" in rows.done["a"]


async def test_due_callbacks_are_sent_while_others_wait():
    rows = Rows({"a": GOOD, "b": GOOD})
    posts = Receivers()
    await Callbacks(rows, posts).take_up()
    assert sorted(posts.taken) == ["a", "b"]
    assert rows.done == {"a": None, "b": None}


async def test_of_many_receivers_nothing_is_kept_but_those_that_rest():
    ours = Callbacks(Rows({}), Receivers())
    for number in range(MAX_WAITING):
        ours._poster.under_way[f"https://h{number}.example.org/"] = 0
        ours._poster.most[f"https://h{number}.example.org/"] = 0
        ours.begin(f"j{number}", f"https://h{number}.example.org/")
    await settled(ours)
    ours.begin("last", GOOD)
    assert len(ours._receivers) == 1
    await settled(ours)


@pytest.mark.parametrize("count", [1, MAX_ARTIFACTS, MAX_ARTIFACTS + 5])
def test_a_record_names_a_bounded_number_of_artifacts_the_manifest_among_them(count):
    sent = json.loads(document_of(record("j", count)))
    assert len(sent["artifacts"]) == min(count, MAX_ARTIFACTS)
    assert any(artifact["role"] == "manifest" for artifact in sent["artifacts"])
    assert sent.get("artifacts_left_out", 0) == max(0, count - MAX_ARTIFACTS)
