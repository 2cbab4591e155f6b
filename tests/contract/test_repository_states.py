"""Whatever workers, people and crashes do in whatever order: the promises of the claim hold."""

import asyncio
import itertools

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.support.repositories import ENDINGS, FAILURE, job, repeats, request
from worker.adapters.sql import SqlRepository
from worker.core.attempt import Progress
from worker.core.errors import InvalidJob, JobCancelled, LeaseLost
from worker.core.policy import Policy
from worker.core.ports import Buried, Finished, Granted, Waiting
from worker.core.record import TERMINAL

POLICY = Policy(delays=(30.0, 60.0), max_crashes=2)
LIVE = {"running", "publishing"}
WORKERS = st.sampled_from(["w1", "w2", "w3"])
IDS = itertools.count()


class Machine(RuleBasedStateMachine):
    """One job, three workers, and everything that can happen to it."""

    def __init__(self, bench, runner) -> None:
        super().__init__()
        self.bench, self.run = bench, runner.run
        self.job = job(f"j{next(IDS)}")
        self.attempts = []
        self.completions = 0
        self.last = None
        self.record = None
        self.may_leave_terminal = False
        self.look()

    def look(self):
        before, self.record = self.record, self.run(self.bench.repository.job(self.job.job_id))
        return before

    @property
    def state(self):
        return self.record.state if self.record else None

    # -------------------------------------------------------------- workers

    @rule(worker=WORKERS, replayed=st.booleans(), header=st.integers(0, 5))
    def claim(self, worker, replayed, header):
        asked = request(
            self.job, worker, death_mark=FAILURE.mark if replayed else "", attempt_header=header, round_header=1
        )
        self.may_leave_terminal = self.state == "dead" and replayed
        claim = self.run(self.bench.repository.claim(asked, POLICY))
        match claim:
            case Granted(attempt):
                assert self.state not in TERMINAL or self.may_leave_terminal
                assert all(attempt.epoch > other.epoch for other in self.attempts)
                assert 1 <= attempt.number <= POLICY.max_attempts
                self.attempts.append(attempt)
            case Finished(state):
                assert state in {"completed", "cancelled"}
            case Buried(_, fresh):
                assert fresh == (self.state != "dead")
            case Waiting():
                assert self.state in {*LIVE, "retrying"}

    @rule(worker=WORKERS)
    def claims_at_once(self, worker):
        async def race():
            asked = [request(self.job, f"{worker}-{number}") for number in range(3)]
            return await asyncio.gather(*(self.bench.repository.claim(one, POLICY) for one in asked))

        granted = [claim.attempt for claim in self.run(race()) if isinstance(claim, Granted)]
        assert len(granted) <= 1
        self.attempts += granted

    @precondition(lambda self: self.attempts)
    @rule(pick=st.integers(0, 3), name=st.sampled_from(sorted(ENDINGS)))
    def act(self, pick, name):
        attempt = self.attempts[max(0, len(self.attempts) - 1 - pick)]
        ours = attempt is self.attempts[-1] and self.state in LIVE
        if ours and name == "retry_later" and attempt.number >= POLICY.max_attempts:
            # The policy retries no last attempt.
            name = "bury"
        try:
            self.run(ENDINGS[name](self.bench.repository, attempt))
        except JobCancelled:
            assert ours
            assert name == "announce"
        except LeaseLost:
            assert not ours, f"{name} of the owner was refused"
        else:
            repeated = self.last is not None and self.last[0] is attempt and repeats(self.last[1], name)
            assert ours or repeated, f"{name} of a lost attempt was accepted"
            self.completions += ours and name == "complete"
            if ours and name in {"complete", "retry_later", "bury", "release", "confirm_cancel"}:
                self.last = (attempt, name)

    @precondition(lambda self: self.attempts)
    @rule(pick=st.integers(0, 3), percent=st.floats(0, 99))
    def report(self, pick, percent):
        attempt = self.attempts[max(0, len(self.attempts) - 1 - pick)]
        self.run(self.bench.repository.report(attempt, Progress(percent)))

    # -------------------------------------------------------------- time and people

    @precondition(lambda self: self.state in LIVE)
    @rule()
    def expire(self):
        self.run(self.bench.expire(self.job.job_id))

    @precondition(lambda self: self.state == "retrying")
    @rule()
    def come_due(self):
        self.run(self.bench.come_due(self.job.job_id))

    @rule()
    def cancel(self):
        state_after = self.run(self.bench.repository.request_cancel(self.job.job_id))
        assert state_after == ("cancelled" if self.state in {None, "queued", "retrying"} else self.state)

    @rule()
    def reopen(self):
        self.may_leave_terminal = self.state in {"dead", "cancelled"}
        try:
            self.run(self.bench.repository.reopen(self.job.job_id))
        except InvalidJob:
            assert not self.may_leave_terminal or not self.record.document
        else:
            assert self.may_leave_terminal

    @rule()
    def bury_unclaimed(self):
        self.run(self.bench.repository.bury_unclaimed(self.job, "d" * 64, "cpu", "normal", FAILURE))

    # -------------------------------------------------------------- promises

    @invariant()
    def promises(self):
        before = self.look()
        if self.record is None:
            return
        if before is not None and before.state in TERMINAL and not self.may_leave_terminal:
            assert self.record == before, "a terminal record changed"
        self.may_leave_terminal = False
        tried = self.record.attempts
        open_epochs = [one.epoch for one in tried if one.ended_at is None]
        assert len(open_epochs) == (self.state in LIVE), "one open attempt while it runs, none otherwise"
        assert open_epochs in ([], [max(one.epoch for one in tried)] if tried else [])
        assert len({one.epoch for one in tried}) == len(tried)
        assert all(1 <= one.number <= POLICY.max_attempts for one in tried)
        for earlier, later in itertools.pairwise(tried):
            assert later.round > earlier.round or later.number >= earlier.number
            charged = earlier.outcome in {"failed", "crashed"}
            assert later.round > earlier.round or later.number > earlier.number or not charged
        assert self.completions == (self.state == "completed")
        assert (self.record.finished_at is not None) == (self.state in TERMINAL)


def test_no_order_of_events_breaks_a_promise_of_the_claim(url, bench_of):
    with asyncio.Runner() as runner:
        repository = SqlRepository(url)
        run_state_machine_as_test(
            lambda: Machine(bench_of(repository, url), runner),
            settings=settings(
                # A round trip for every step makes PostgreSQL the slow one; the rules are the same.
                max_examples=60 if url.startswith("sqlite") else 15,
                stateful_step_count=25,
                suppress_health_check=list(HealthCheck),
            ),
        )
        runner.run(repository.close())
