"""`leveret watch` and `leveret logs`: following a job and its tools until it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.support.command_line import one_line
from worker.core.attempt import Result
from worker.engine.attempt.tool_log import packed


@pytest.mark.parametrize(("make", "code", "state"), [("completed", 0, "completed"), ("died", 1, "dead")])
def test_watch_ends_as_the_job_ended(cli, make, code, state):
    getattr(cli, make)("a-job")
    answer = cli.type("watch", "a-job")
    assert answer.code == code
    assert answer.out.startswith(f"a-job  {state}")


def test_watch_of_a_cancelled_job_ends_with_2(cli):
    cli.insert("a-job")
    assert cli.type("cancel", "a-job").out == "a-job is cancelled\n"
    assert cli.type("watch", "a-job").code == 2


def watching_of(cli, *names):
    # A shell starts what it puts in the background with Ctrl-C ignored, and so may whoever runs these tests.
    return subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "worker", "watch", *names],
        env=cli.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_watch_of_a_job_that_waits_says_why(cli):
    cli.insert("a-job")
    watching = watching_of(cli, "a-job")
    lines = [watching.stdout.readline().strip() for _ in range(2)]
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=20)
    assert lines == ["a-job  queued", "a-job  queued  no living worker serves cpu"]


def test_ctrl_c_ends_a_watch_with_130_and_without_a_trace(cli):
    cli.insert("a-job")
    watching = watching_of(cli)
    assert watching.stdout.readline().startswith("a-job  queued")
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=20)
    assert (watching.returncode, errors) == (130, "")


def test_logs_are_printed_and_a_job_without_any_says_so(cli):
    body = cli.insert("j1")
    assert "no tool of the job j1 has written anything" in one_line(cli.type("logs", "j1"))
    attempt = cli.claimed("j1", body)
    cli.ask(lambda repository: repository.store_log(attempt, packed("$ ffmpeg\nall is \x1b[31mwell\n")))
    answer = cli.type("logs", "j1")
    assert (answer.code, answer.out) == (0, "$ ffmpeg\nall is \\x1b[31mwell\n")
    assert json.loads(cli.type("logs", "j1", "--attempt", "1", "--json").out)["worker"] == "a-worker"
    assert "in attempt 2" in one_line(cli.type("logs", "j1", "--attempt", "2"))
    assert "there is no job" in one_line(cli.type("logs", "j2"))
    assert cli.type("logs", "j1", "--follow", "--json").code == 2


def test_following_a_log_prints_all_of_it_and_ends_with_the_job(cli):
    body = cli.insert("j1")
    attempt = cli.claimed("j1", body)
    cli.ask(lambda repository: repository.store_log(attempt, packed("one\ntwo\n")))
    cli.ask(lambda repository: repository.complete(attempt, Result()))
    answer = cli.type("logs", "j1", "--follow")
    assert answer.code == 0
    assert answer.out.splitlines()[0].startswith("--- attempt 1 on a-worker")
    assert answer.out.endswith("one\ntwo\n")
