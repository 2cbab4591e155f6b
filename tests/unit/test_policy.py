"""What an error means for its job."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core import errors
from worker.core.attempt import Attempt, Cancelled, Dead, Defer, Failure, Requeue, Retry
from worker.core.job import Job, TaskSpec
from worker.core.policy import MAX_MESSAGE_BYTES, Policy, failure_of, shortened


def attempt(number: int = 1, token: str = "") -> Attempt:
    data = {"token": token} if token else {}
    job = Job("j1", "title", (TaskSpec("x", data, "tasks[0].data"),), "canonical")
    return Attempt(job, 1, number, 7, "w1", 30.0, datetime.now(UTC))


@pytest.mark.parametrize(("number", "delay"), [(1, 30.0), (2, 120.0), (3, 600.0)])
def test_the_first_three_transient_failures_wait_longer_each_time(number, delay):
    verdict = Policy().verdict(errors.SourceMissing("away"), attempt(number))
    assert isinstance(verdict, Retry)
    assert verdict.delay == delay


def test_the_fourth_transient_failure_is_the_last():
    assert isinstance(Policy().verdict(errors.SourceMissing("away"), attempt(4)), Dead)


@pytest.mark.parametrize("kind", [errors.BadInput, errors.RefusedPath, errors.Unserved, errors.CrashLoop])
def test_a_permanent_error_is_dead_at_once(kind):
    assert isinstance(Policy().verdict(kind("no"), attempt()), Dead)


@pytest.mark.parametrize("kind", [errors.DiskFull, errors.MountMissing, errors.ToolMissing, errors.DatabaseUnavailable])
@pytest.mark.parametrize("number", [1, 4])
def test_an_error_of_a_sick_host_defers_the_job_uncharged(kind, number):
    assert isinstance(Policy().verdict(kind("sick"), attempt(number)), Defer)


def test_our_own_shutdown_gives_the_job_back():
    assert isinstance(Policy().verdict(errors.ShuttingDown("bye"), attempt(4)), Requeue)


def test_a_cancelled_job_is_cancelled():
    assert isinstance(Policy().verdict(errors.JobCancelled("stop"), attempt()), Cancelled)


def test_a_lost_lease_defers_whatever_the_number():
    assert isinstance(Policy().verdict(errors.LeaseLost("gone"), attempt(4)), Defer)


def test_a_fault_of_ours_is_counted_like_a_transient_one():
    assert isinstance(Policy().verdict(KeyError("x"), attempt(1)), Retry)
    assert isinstance(Policy().verdict(KeyError("x"), attempt(4)), Dead)


def test_without_delays_the_first_failure_is_the_last():
    assert isinstance(Policy(()).verdict(errors.SourceMissing("away"), attempt(1)), Dead)


def test_a_secret_of_the_job_is_in_no_verdict():
    verdict = Policy().verdict(errors.SourceMissing("cannot clone with hunter-two"), attempt(1, token="hunter-two"))
    assert isinstance(verdict, Retry)
    assert verdict.failure.message == "cannot clone with [hidden]"


@given(st.text())
def test_a_failure_is_one_bounded_line(text):
    failure = failure_of(errors.ToolFailed(text), "w", 1)
    assert failure.message
    assert len(failure.message.splitlines()) == 1
    assert len(failure.message.encode()) <= MAX_MESSAGE_BYTES


@given(st.text(min_size=1), st.integers(min_value=4, max_value=100))
def test_a_shortened_text_fits_and_begins_as_the_whole_does(text, limit):
    short = shortened(text, limit)
    assert len(short.encode()) <= limit
    assert text.startswith(short.removesuffix("…"))


@given(st.integers(1, 50), st.lists(st.floats(0.1, 1000), max_size=10))
def test_no_number_of_attempts_escapes_the_end(number, delays):
    policy = Policy(tuple(delays))
    verdict = policy.verdict(errors.ToolFailed("x"), attempt(number))
    assert isinstance(verdict, Retry) == (number < policy.max_attempts)


def failed_before(message: str, kind: type[Exception] = errors.ToolFailed, number: int = 2) -> Attempt:
    return replace(attempt(number), previous=failure_of(kind(message), "w0", number - 1))


@pytest.mark.parametrize("kind", [errors.ToolFailed, errors.VerificationFailed])
def test_the_same_words_of_a_tool_twice_in_a_row_end_the_retries(kind):
    words = "ffmpeg exited 1 after {} s: [x @ 0x{}] nope in /scratch/j1.{}/files"
    before, now = words.format(2, "55d6", 1), words.format(14, "7f71", 2)
    verdict = Policy().verdict(kind(now), failed_before(before, kind))
    assert isinstance(verdict, Dead)
    assert verdict.failure.message.endswith("nope in /scratch/j1.2/files (twice in a row, so it was not tried again)")


def test_a_long_message_keeps_the_reason_for_which_it_was_not_tried_again():
    verdict = Policy().verdict(errors.ToolFailed("x" * 3000), failed_before("x" * 3000))
    assert isinstance(verdict, Dead)
    assert verdict.failure.message.endswith("so it was not tried again)")
    assert len(verdict.failure.message.encode()) <= MAX_MESSAGE_BYTES


@pytest.mark.parametrize(
    ("error", "before"),
    [
        (errors.ToolFailed("one"), failed_before("another")),
        (errors.ToolFailed("out of memory", passing=True), failed_before("out of memory")),
        (errors.VerificationFailed("one"), failed_before("one")),
        (errors.SourceMissing("away"), failed_before("away", errors.SourceMissing)),
        (errors.StorageUnavailable("away"), failed_before("away", errors.StorageUnavailable)),
        (errors.ToolStalled("slow"), failed_before("slow", errors.ToolStalled)),
        (errors.ToolFailed("one"), attempt(2)),
    ],
)
def test_other_words_and_what_may_pass_are_tried_again(error, before):
    assert isinstance(Policy().verdict(error, before), Retry)


@pytest.mark.parametrize("kind", [errors.DiskFull, errors.MountMissing, errors.ToolMissing, errors.ShuttingDown])
def test_a_round_gives_back_a_bounded_number_of_attempts_uncharged(kind):
    policy = Policy(max_returns=3)
    returned = replace(attempt(), returns=2)
    assert isinstance(policy.verdict(kind("sick"), returned), Defer | Requeue)
    assert isinstance(policy.verdict(kind("sick"), replace(returned, returns=3)), Retry)
    assert isinstance(policy.verdict(kind("sick"), replace(returned, returns=3, number=4)), Dead)


def test_a_job_that_another_worker_may_do_or_has_is_given_back_without_a_limit_here():
    policy = Policy(max_returns=3)
    assert isinstance(policy.verdict(errors.CannotServe("no gource"), replace(attempt(), returns=9)), Defer)
    assert isinstance(policy.verdict(errors.LeaseLost("gone"), replace(attempt(), returns=9)), Defer)


def test_a_job_that_was_out_of_memory_twice_in_a_row_is_dead():
    error = errors.ToolOutOfMemory("ffmpeg was killed by SIGKILL")
    assert isinstance(Policy().verdict(error, attempt(1)), Retry)
    assert isinstance(Policy().verdict(error, replace(attempt(2), previous=Failure("x", "ToolFailed", "w", 1))), Retry)
    assert isinstance(
        Policy().verdict(error, replace(attempt(2), previous=Failure("x", "ToolOutOfMemory", "w", 1))), Dead
    )
