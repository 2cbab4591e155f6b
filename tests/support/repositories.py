"""Jobs, claims and endings for the tests of a repository."""

from pathlib import Path

from worker.core.attempt import Artifact, Failure, Result
from worker.core.job import Job, TaskSpec
from worker.core.policy import Policy
from worker.core.ports import ClaimRequest, Granted

POLICY = Policy()
FAILURE = Failure("ffmpeg exited 1 after 62 s: no\0thing", "ToolFailed", "w1", 1)


def job(job_id="j1", **values):
    task = TaskSpec("ffmpeg", {"sources": ["a.mkv"], "token": "geheim"}, "tasks[0].data")
    return Job(job_id, "a film", (task,), "canonical", **values)


def request(a_job=None, worker="w1", **values):
    values = {"digest": "d" * 64, "lane": "cpu", "priority": "normal", "lease_seconds": 30.0} | values
    return ClaimRequest(a_job or job(), worker=worker, **values)


async def granted(repository, **values):
    claim = await repository.claim(request(**values), POLICY)
    assert isinstance(claim, Granted), claim
    return claim.attempt


def artifact(uri, **values):
    return Artifact("file", Path("/scratch/x"), uri, "video/mp4", 12, "ab" * 32, **values)


ENDINGS = {
    "renew": lambda r, a: r.renew(a),
    "announce": lambda r, a: r.announce(a, ["u"]),
    "complete": lambda r, a: r.complete(a, Result((artifact("file:///late"),))),
    "retry_later": lambda r, a: r.retry_later(a, FAILURE, 30.0),
    "bury": lambda r, a: r.bury(a, FAILURE),
    "release": lambda r, a: r.release(a, "interrupted", "x"),
    "confirm_cancel": lambda r, a: r.confirm_cancel(a),
    "keep": lambda r, a: r.keep(a, "f", [], 60.0),
}


def repeats(ending, late):
    return late == ending or {ending, late} == {"bury", "retry_later"}
