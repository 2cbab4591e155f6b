"""What people, the fleet and what outlives an attempt ask of the database, the same on both."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.repositories import FAILURE, POLICY, granted, job, request
from worker.core.attempt import Result
from worker.core.ports import Buried, Finished
from worker.core.record import Hardware, OptionSet, RefusalRecord, WorkerRecord


async def test_a_job_that_nobody_knows_has_no_record(repository):
    assert await repository.job("nobody") is None


# ------------------------------------------------------------------ refusals


def refusal(**values):
    facts = {
        "refusal_id": "r1",
        "message_id": None,
        "body_sha256": "b" * 64,
        "excerpt": "{\0\ud800",
        "error": "not JSON",
        "error_type": "InvalidJob",
        "problems": ["a", "b"],
        "worker": "w1",
        "refused_at": datetime.now(UTC),
    }
    return RefusalRecord(**(facts | values))


async def test_the_same_refused_message_is_one_row_and_the_newest_comes_first(repository):
    earlier = datetime.now(UTC) - timedelta(hours=1)
    await repository.refuse(refusal(refused_at=earlier))
    await repository.refuse(refusal(refusal_id="r2", refused_at=earlier, worker="w2"))
    await repository.refuse(refusal(refusal_id="r3", message_id="m1"))
    stored = await repository.refusals()
    assert [(one.message_id, one.worker) for one in stored] == [("m1", "w1"), (None, "w2")]
    assert stored[0].excerpt == "{\ufffd\ufffd"
    assert stored[0].problems == ["a", "b"]
    assert len(await repository.refusals(limit=1)) == 1
    await repository.refuse(refusal(body_sha256="c" * 64))
    assert await repository.forget_refusals("b" * 64) == 2
    assert await repository.forget_refusals() == 1
    assert await repository.refusals() == []


# ------------------------------------------------------------------ option sets


async def test_option_sets_are_stored_replaced_listed_and_deleted(repository):
    assert await repository.option_set("ffmpeg", "web") is None
    for module, name, options in (("hls", "tv", {}), ("ffmpeg", "web", {"crf": 20}), ("ffmpeg", "tv", {"a": [1]})):
        await repository.put_option_set(OptionSet(module=module, name=name, options=options))
    await repository.put_option_set(OptionSet(module="ffmpeg", name="web", options={"crf": 23}))
    assert (await repository.option_set("ffmpeg", "web")).options == {"crf": 23}
    listed = await repository.option_sets()
    assert [(one.module, one.name) for one in listed] == [("ffmpeg", "tv"), ("ffmpeg", "web"), ("hls", "tv")]
    assert [one.name for one in await repository.option_sets("hls")] == ["tv"]
    assert await repository.delete_option_set("ffmpeg", "web") is True
    assert await repository.delete_option_set("ffmpeg", "web") is False


# ------------------------------------------------------------------ the fleet


def worker(worker_id="w1", **values):
    facts = {"hostname": "host", "pid": 7, "version": "0.1.0", "status": "idle", "lanes": ["cpu"]}
    return WorkerRecord(worker_id=worker_id, **(facts | values))


async def test_a_heartbeat_is_stored_whole_with_the_databases_time(repository):
    beat = worker(
        status="in_progress", job_id="j1", job_title="a film", capabilities={"encoders": ["libx264"]},
        hardware=Hardware(cpu_percent=12.5, cores=4, disk_free_bytes=10**12), problem="scratch is nearly full",
    )  # fmt: skip
    assert await repository.beat(worker()) == "run"
    assert await repository.beat(beat) == "run"
    (stored,) = await repository.workers(15.0)
    assert abs(stored.seen_at - datetime.now(UTC)) < timedelta(seconds=30)
    assert stored.model_copy(update={"seen_at": None}) == beat


async def test_a_silent_worker_is_offline(repository):
    await repository.beat(worker("a"))
    await repository.beat(worker("b"))
    assert [one.status for one in await repository.workers(60.0)] == ["idle", "idle"]
    assert [one.status for one in await repository.workers(-1.0)] == ["offline", "offline"]


async def test_a_pause_outlives_the_process_and_a_drain_does_not(repository):
    await repository.beat(worker("a"))
    await repository.beat(worker("b"))
    assert await repository.steer("a", "pause") == ["a"]
    assert await repository.steer("nobody", "pause") == []
    assert await repository.beat(worker("a")) == "pause"
    assert await repository.beat(worker("a", status="startup")) == "pause"
    assert await repository.beat(worker("b")) == "run"
    assert await repository.steer(None, "drain") == ["a", "b"]
    assert await repository.beat(worker("b", status="draining")) == "drain"
    assert await repository.beat(worker("b", status="startup")) == "run"
    assert await repository.beat(worker("b")) == "run"


# ------------------------------------------------------------------ what outlives an attempt


async def test_kept_files_serve_a_retry_here_until_the_job_runs_elsewhere(repository):
    attempt = await granted(repository)
    await repository.keep(attempt, "/scratch/j1.1", [{"uri": "file:///a", "bytes": 3}], 60.0)
    await repository.retry_later(attempt, FAILURE, 0.0)
    found = await repository.kept("j1", "w1")
    assert (found.job_id, found.epoch, found.worker, found.folder) == ("j1", 1, "w1", "/scratch/j1.1")
    assert found.artifacts == ({"uri": "file:///a", "bytes": 3},)
    assert await repository.kept("j1", "w2") is None
    assert await repository.expired_kept("w1") == []
    assert await repository.kept_folders() == ["/scratch/j1.1"]
    again = await granted(repository)
    assert (await repository.kept("j1", "w1")).epoch == 1
    await repository.retry_later(again, FAILURE, 0.0)
    elsewhere = await granted(repository, worker="w2")
    assert await repository.kept("j1", "w1") is None
    assert await repository.expired_kept("w1") == [found]
    assert await repository.kept_folders() == [], "anybody on its host may remove it: w1 may never come back"
    await repository.release(elsewhere, "interrupted", "")
    await granted(repository)
    assert await repository.kept("j1", "w1") is None, "what w2 published may be newer"
    await repository.drop_kept("j1", "w2")
    assert await repository.expired_kept("w1") == [found]
    await repository.drop_kept("j1")
    assert await repository.expired_kept("w1") == []


@pytest.mark.parametrize("why", ["expiry", "end"])
async def test_kept_files_are_given_up_at_their_expiry_or_at_the_jobs_end(repository, why):
    attempt = await granted(repository)
    await repository.keep(attempt, "/scratch/j1.1", [], 0.0 if why == "expiry" else 60.0)
    if why == "end":
        await repository.complete(attempt, Result())
    assert await repository.kept("j1", "w1") is None
    assert [one.folder for one in await repository.expired_kept("w1")] == ["/scratch/j1.1"]
    assert await repository.kept_folders() == []


CALLED = {"callback_url": "https://example.org/callback"}


@pytest.mark.parametrize("ending", ["complete", "bury", "cancel", "cancel queued", "crash", "unclaimed"])
async def test_every_end_of_a_job_with_a_callback_leaves_it_due(bench, ending):
    repository = bench.repository
    for a_job in (job("j1", **CALLED), job("silent")):
        if ending == "unclaimed":
            await repository.bury_unclaimed(a_job, "d" * 64, "cpu", "normal", FAILURE)
        elif ending == "cancel queued":
            await repository.submit(a_job, "d" * 64, "cpu", "normal")
            await repository.request_cancel(a_job.job_id)
        elif ending == "crash":
            for _ in range(3):
                await granted(repository, a_job=a_job)
                await bench.expire(a_job.job_id)
            assert isinstance(await repository.claim(request(a_job), POLICY), Buried)
        else:
            attempt = await granted(repository, a_job=a_job)
            assert await repository.pending_callbacks(0.0, 10) in ([], [("j1", "https://example.org/callback")])
            how = {
                "complete": lambda attempt: repository.complete(attempt, Result()),
                "bury": lambda attempt: repository.bury(attempt, FAILURE),
                "cancel": repository.confirm_cancel,
            }
            await how[ending](attempt)
    assert await repository.pending_callbacks(0.0, 10) == [("j1", "https://example.org/callback")]
    assert await repository.pending_callbacks(3600.0, 10) == []
    await repository.callback_done("j1", error="refused" if ending == "bury" else None)
    assert await repository.pending_callbacks(0.0, 10) == []
    assert await bench.column("j1", "callback_state") == ("failed" if ending == "bury" else "done")


async def test_a_crash_of_a_job_to_be_cancelled_leaves_its_callback_due(bench):
    await granted(bench.repository, a_job=job(**CALLED))
    await bench.repository.request_cancel("j1")
    await bench.expire("j1")
    assert await bench.repository.claim(request(job(**CALLED)), POLICY) == Finished("cancelled")
    assert await bench.repository.pending_callbacks(0.0, 10) == [("j1", "https://example.org/callback")]


async def test_a_new_round_takes_back_the_callback(repository):
    await repository.bury(await granted(repository, a_job=job(**CALLED)), FAILURE)
    await repository.reopen("j1")
    assert await repository.pending_callbacks(0.0, 10) == []


# ------------------------------------------------------------------ nobody can do it


async def test_the_workers_that_cannot_do_a_job_are_gathered_until_one_can(bench):
    asked = (job(), "d" * 64, "cpu", "normal")
    first = await bench.repository.decline(*asked, "w1")
    assert first.workers == {"w1"}
    assert (await bench.repository.job("j1")).state == "queued"
    second = await bench.repository.decline(*asked, "w2", lacking="tool:mkvmerge (not installed)")
    assert (await bench.repository.job("j1")).refused_by == {"w1": "", "w2": "tool:mkvmerge (not installed)"}
    assert second.workers == {"w1", "w2"}
    assert 0.0 <= second.seconds < 30.0
    assert second.seconds >= first.seconds
    attempt = await granted(bench.repository)
    assert (await bench.repository.decline(*asked, "w3")).workers == {"w3"}
    assert await bench.column("j1", "refused_by") == []
    await bench.repository.complete(attempt, Result())
    assert (await bench.repository.decline(*asked, "w3")).workers == {"w3"}
    assert (await bench.repository.job("j1")).state == "completed"


async def test_refusing_workers_are_read_as_an_older_release_stored_them(bench):
    asked = (job(), "d" * 64, "cpu", "normal")
    await bench.repository.decline(*asked, "w1")
    await bench.set_column("j1", "refused_by", ["w1"])
    assert (await bench.repository.job("j1")).refused_by == {"w1": ""}
    assert (await bench.repository.decline(*asked, "w2", lacking="no")).workers == {"w1", "w2"}


# ------------------------------------------------------------------ the database itself


async def test_the_database_states_what_it_is_and_its_clock(repository, url):
    facts = await repository.facts()
    assert facts.product == url.partition(":")[0]
    assert facts.version >= (3,)
    assert abs(facts.ahead_seconds) < 1


async def test_another_process_under_the_same_name_is_noticed_until_it_says_that_it_goes(repository):
    def record(host, status="idle"):
        return WorkerRecord(worker_id="w", hostname=host, pid=7, version="1", status=status)

    await repository.beat(record("one"), "a")
    assert await repository.namesake("w", "a", 15) is None
    await repository.beat(record("two"), "b")
    assert await repository.namesake("w", "a", 15) == "two pid 7"
    assert await repository.namesake("other", "a", 15) is None
    assert await repository.namesake("w", "a", -1) is None
    await repository.beat(record("two", "offline"), "b")
    assert await repository.namesake("w", "a", 15) is None
    # One of an older version says nothing of its process.
    await repository.beat(record("two"))
    assert await repository.namesake("w", "a", 15) is None


async def test_only_workers_that_were_silent_for_so_long_are_forgotten(repository):
    await repository.beat(worker("a"))
    await repository.beat(worker("b"))
    assert await repository.forget_workers(["a", "b"], 60) == []
    assert await repository.forget_workers(["a", "nobody"], -1) == ["a"]
    assert [one.worker_id for one in await repository.workers(60)] == ["b"]
