"""Who is informed of the ends of jobs: each end once, by one server, in digests, on both databases."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from sqlalchemy import update

from tests.support.repositories import FAILURE, granted, job
from worker.adapters.sql.schema import jobs, moment
from worker.adapters.sql.schema.intake import notifications
from worker.control.intake.notifications import Notifier
from worker.core.attempt import Result
from worker.core.errors import StorageUnavailable
from worker.core.notification import Notification

HOOK = {"url": "https://example.org/hook", "secret": "for tests " * 2}


@dataclass
class Sent:
    """A sender that remembers; it fails as often as a test says."""

    messages: list = field(default_factory=list)
    failures: int = 0

    async def __call__(self, notification, message):
        if self.failures:
            self.failures -= 1
            raise StorageUnavailable("example.org does not answer")
        self.messages.append(message)

    @property
    def jobs(self):
        return [(one.job_id, one.state) for message in self.messages for one in message.notices]


async def store(repository, name="phone", **values):
    await repository.put_notification(name, Notification.model_validate({"url": "ntfys://host/t"} | values))


async def end(repository, job_id, state="dead"):
    attempt = await granted(repository, a_job=job(job_id))
    if state == "dead":
        await repository.bury(attempt, FAILURE)
    elif state == "completed":
        await repository.complete(attempt, Result())
    else:
        await repository.confirm_cancel(attempt)


async def due(repository, **values):
    values = values or {"due_at": moment(-1)}
    await repository._database.write(lambda c: c.execute(update(notifications).values(**values)))


async def test_each_end_in_a_chosen_state_is_sent_once(repository):
    await end(repository, "before")
    sent = Sent()
    await store(repository, states=["dead", "completed"], digest_seconds=0)
    notifier = Notifier(repository, sent, "one")
    for job_id, state in (("a", "dead"), ("b", "completed"), ("c", "cancelled")):
        await end(repository, job_id, state)
    assert await notifier.round() == 1
    assert sorted(sent.jobs) == [("a", "dead"), ("b", "completed")]
    assert await notifier.round() == 0
    await end(repository, "d")
    assert await notifier.round() == 1
    assert sent.jobs[-1] == ("d", "dead")
    assert (await repository.notifications())[0].sent_at is not None


async def test_a_job_that_dies_in_a_second_round_is_sent_again(repository):
    sent = Sent()
    await store(repository, digest_seconds=0)
    notifier = Notifier(repository, sent, "one")
    await end(repository, "a")
    await notifier.round()
    await repository.reopen("a")
    await end(repository, "a")
    await notifier.round()
    assert sent.jobs == [("a", "dead")] * 2


async def test_a_flood_is_a_digest(repository):
    sent = Sent()
    await store(repository, states=["dead", "completed"])
    notifier = Notifier(repository, sent, "one")
    await end(repository, "first")
    await notifier.round()
    for number in range(30):
        await end(repository, f"j{number:02}", "dead" if number < 3 else "completed")
    assert await notifier.round() == 0
    await due(repository)
    assert await notifier.round() == 1
    assert [message.total for message in sent.messages] == [1, 30]
    digest = sent.messages[-1]
    assert digest.title == "Leveret: 30 jobs ended: 27 completed, 3 dead"
    lines = digest.text.splitlines()
    assert [line.partition(" ")[0] for line in lines[:4]] == ["dead", "dead", "dead", "completed"]
    assert lines[-1] == "… and 10 more"


async def test_a_webhook_gets_every_end_in_bounded_messages(repository):
    sent = Sent()
    await store(repository, states=["completed"], **HOOK)
    notifier = Notifier(repository, sent, "one")
    for number in range(120):
        await end(repository, f"j{number:03}", "completed")
    assert [await notifier.round() for _ in range(3)] == [1, 1, 0]
    assert [len(message.notices) for message in sent.messages] == [100, 20]
    assert len(set(sent.jobs)) == 120


async def test_a_notice_that_cannot_be_sent_is_retried_and_given_up_after_a_day(repository):
    sent = Sent(failures=2)
    await store(repository, digest_seconds=0)
    notifier = Notifier(repository, sent, "one")
    await end(repository, "a")
    assert await notifier.round() == 0
    (stored,) = await repository.notifications()
    assert (stored.failures, stored.waiting) == (1, 1)
    assert "does not answer" in stored.problem
    # It waits between two tries.
    assert await notifier.round() == 0
    assert sent.failures == 1
    await due(repository)
    assert await notifier.round() == 0
    await due(repository)
    assert await notifier.round() == 1
    (stored,) = await repository.notifications()
    assert (stored.failures, stored.problem, stored.waiting) == (0, None, 0)
    await end(repository, "b")
    await repository.collect_notices("phone", ["dead"], 10)
    await repository.notices_failed("phone", "away", 0.0, -1.0)
    assert (await repository.notifications())[0].waiting == 0
    assert await repository.forget_notices(-1.0) == 2


async def test_two_servers_send_each_message_once_and_one_takes_over_from_a_dead_one(repository):
    sent = Sent()
    await store(repository, digest_seconds=0)
    one, two = Notifier(repository, sent, "one"), Notifier(repository, sent, "two")
    await end(repository, "a")
    await repository.collect_notices("phone", ["dead"], 10)
    # One is killed while it sends.
    assert await repository.claim_notification("phone", "one", 120.0)
    assert await two.round() == 0
    await due(repository, lease_until=moment(-1))
    assert await two.round() == 1
    assert await one.round() == 0
    assert sent.jobs == [("a", "dead")]
    delivery = sent.messages[0].delivery
    assert delivery == sent.messages[0].model_copy().delivery


async def test_a_job_that_ends_while_a_notification_is_off_is_not_sent_late(repository):
    sent = Sent()
    await store(repository, enabled=False)
    notifier = Notifier(repository, sent, "one")
    await end(repository, "a")
    assert await notifier.round() == 0
    await store(repository)
    assert await notifier.round() == 0
    await end(repository, "b")
    assert await notifier.round() == 1
    assert sent.jobs == [("b", "dead")]
    assert await repository.delete_notification("phone")
    assert not await repository.delete_notification("phone")


@pytest.mark.parametrize("limit", [2, 100])
async def test_a_look_that_finds_more_than_it_takes_goes_on_at_the_next(repository, limit):
    await store(repository)
    for number in range(5):
        await end(repository, f"j{number}")
    for _ in range(5):
        await repository.collect_notices("phone", ["dead"], limit)
    notices, counts = await repository.waiting_notices("phone", 100)
    assert (sorted(one.job_id for one in notices), counts) == ([f"j{number}" for number in range(5)], {"dead": 5})


async def test_parts_of_a_job_are_no_ends_of_jobs(repository):
    await store(repository)
    await end(repository, "a")
    await repository._database.write(lambda c: c.execute(update(jobs).values(parent_id="film")))
    assert await repository.collect_notices("phone", ["dead"], 10) == 0
