"""What the engine needs of the world. Each port has one contract suite, run on every implementation."""

from __future__ import annotations

from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from worker.core.attempt import Artifact, Attempt, Failure, Outcome, Progress, Result
    from worker.core.command import Exit, Pipeline
    from worker.core.job import Job
    from worker.core.location import External
    from worker.core.policy import Policy
    from worker.core.record import JobRecord, LogRecord, OptionSet, RefusalRecord, Wanted, WorkerRecord


# --------------------------------------------------------------------------- the database


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """A worker's wish to run a job that was delivered to it.

    `digest` is the SHA-256 of the body, in hex. `attempt_header` is the charged failures that the message
    tells of (`x-attempt`) in the round it names (`x-round`), 0 for a fresh one: it counts where the database
    knows less. `replayed` says that an operator moved the message out of the dead-letter queue. `token` is this
    wish's own: repeated after an answer that was lost on the way, it is granted the same attempt again.
    """

    job: Job
    digest: str
    worker: str
    lease_seconds: float
    lane: str
    priority: str
    attempt_header: int = 0
    round_header: int = 1
    replayed: bool = False
    token: str = field(default_factory=lambda: token_hex(8))


@dataclass(frozen=True, slots=True)
class Granted:
    """The job is ours under this attempt's epoch."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Finished:
    """The job is completed or cancelled already: finish `deletions`, then ack."""

    state: str
    deletions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody else has a live lease, or the job is not due yet: defer."""

    reason: str


@dataclass(frozen=True, slots=True)
class Buried:
    """The job is dead (`fresh`: by this very claim, which recorded it; else before): to the dead letters."""

    failure: Failure
    fresh: bool


Claim: TypeAlias = Granted | Finished | Waiting | Buried


@dataclass(frozen=True, slots=True)
class Renewal:
    """The lease lives on; `cancel` says that somebody wants the job cancelled."""

    cancel: bool


@dataclass(frozen=True, slots=True)
class Declined:
    """The workers that said they cannot do a job, and how many seconds ago the first of them did."""

    workers: frozenset[str]
    seconds: float


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """Which database it is, its version, and how many seconds its clock is ahead of ours."""

    product: str
    version: tuple[int, ...]
    ahead_seconds: float


@dataclass(frozen=True, slots=True)
class Kept:
    """Files that a worker kept in `folder` after a failed upload; `artifacts` are the JSON that it stored."""

    job_id: str
    epoch: int
    worker: str
    folder: str
    artifacts: tuple[dict[str, Any], ...]


class Repository(Protocol):
    """Jobs, attempts, artifacts, workers, option sets and refusals.

    Every method raises DatabaseUnavailable when the database does not answer. Those that end or change an
    attempt are fenced by its epoch and raise LeaseLost when another epoch owns the job or it has ended; the same
    ending twice is no error, for the answer to the first may have been lost.
    Times are the database's clock.
    """

    # the life of a job
    async def submit(self, job: Job, digest: str, lane: str, priority: str) -> None:
        """Insert a queued row; IdReused, naming `retry`, when the id exists."""
        ...

    async def adopt(self, digest: str, proposed_id: str, *, redelivered: bool) -> str:
        """Return the id for a message without one: `proposed_id`, or for a redelivered body the stored one."""
        ...

    async def claim(self, request: ClaimRequest, policy: Policy) -> Claim:
        """Return whether the job is ours, and if not, why. IdReused when the id has another body."""
        ...

    async def renew(self, attempt: Attempt) -> Renewal:
        """Extend the lease by its length from now; LeaseLost when it is not ours any more."""
        ...

    async def report(self, attempt: Attempt, progress: Progress) -> None:
        """Store progress; a lost lease is no error here, and a terminal row is not touched."""
        ...

    async def announce(self, attempt: Attempt, uris: Sequence[str]) -> None:
        """Set `publishing` and keep the planned URIs; JobCancelled when a cancel came first."""
        ...

    async def planned(self, job_id: str) -> frozenset[str]:
        """Return every URI that an attempt of this job announced or published."""
        ...

    async def complete(self, attempt: Attempt, result: Result) -> tuple[str, ...]:
        """Record the result; return announced URIs of earlier attempts that are no part of it."""
        ...

    async def retry_later(self, attempt: Attempt, failure: Failure, delay: float) -> None:
        """Record a charged failure; the job may be claimed again after `delay` seconds."""
        ...

    async def bury(self, attempt: Attempt, failure: Failure) -> None:
        """Record the job dead."""
        ...

    async def release(self, attempt: Attempt, outcome: str, reason: str) -> None:
        """Give the job back, charged to nobody; `outcome` is `interrupted` or `deferred`."""
        ...

    async def confirm_cancel(self, attempt: Attempt) -> None:
        """Record the job cancelled."""
        ...

    async def deleted(self, job_id: str) -> None:
        """Note that the deletions of a completed job are done."""
        ...

    async def bury_unclaimed(self, job: Job, digest: str, lane: str, priority: str, failure: Failure) -> None:
        """Record dead a job that no attempt ran (the broker dead-lettered it, or nobody serves it)."""
        ...

    async def decline(self, job: Job, digest: str, lane: str, priority: str, worker: str) -> Declined:
        """Note that `worker` cannot do the job; return who said so since it last ran, this one included."""
        ...

    async def keep(self, attempt: Attempt, folder: str, files: Sequence[dict[str, Any]], seconds: float) -> None:
        """Note that the attempt's files stay in `folder` for `seconds`: a retry here need not make them again."""
        ...

    async def kept(self, job_id: str, worker: str) -> Kept | None:
        """Return what `worker` still has of a job that has not ended and ran nowhere else since."""
        ...

    async def expired_kept(self, worker: str) -> list[Kept]:
        """Return what `worker` need not keep any longer: expired, or its job ended or ran elsewhere."""
        ...

    async def kept_folders(self) -> list[str]:
        """Return every kept folder, of all workers: cleaners leave them alone."""
        ...

    async def drop_kept(self, job_id: str, worker: str | None = None) -> None:
        """Forget what one worker, or every one, keeps of a job."""
        ...

    async def callback_done(self, job_id: str, *, ok: bool) -> None:
        """Note how the callback of an ended job went."""
        ...

    async def pending_callbacks(self, older_than_seconds: float) -> list[str]:
        """Return jobs that ended at least so long ago and whose callback is still due, oldest first."""
        ...

    async def store_log(self, attempt: Attempt, text: bytes) -> None:
        """Keep what the attempt's tools wrote so far, zlib-compressed UTF-8, in place of what was kept before."""
        ...

    async def forget_logs(self, older_than_seconds: float) -> int:
        """Delete the logs that nothing was added to for so long; return how many."""
        ...

    async def refuse(self, refusal: RefusalRecord) -> None:
        """Record a message that never became a job; the same message twice is one row."""
        ...

    # people's hands
    async def job(self, job_id: str) -> JobRecord | None:
        """Return a job's record."""
        ...

    async def jobs(
        self,
        state: str | None = None,
        limit: int = 100,
        *,
        lane: str | None = None,
        worker: str | None = None,
        since: float | None = None,
    ) -> list[JobRecord]:
        """Return the newest jobs first, without their attempts' and artifacts' details.

        `worker` is one that had the job, `since` the age in seconds that it has at most.
        """
        ...

    async def log(self, job_id: str, number: int | None = None) -> LogRecord | None:
        """Return the log of the job's newest attempt that has one, or of the newest with that number."""
        ...

    async def counts(self) -> dict[str, int]:
        """Return how many jobs are in each state that has one."""
        ...

    async def request_cancel(self, job_id: str) -> str:
        """Return the state after asking: `cancelled` at once for a waiting or unknown job, else the present one."""
        ...

    async def reopen(self, job_id: str, digest: str | None = None) -> JobRecord:
        """Open a new round of a dead or cancelled job; InvalidJob names why another one cannot be."""
        ...

    async def refusals(self, limit: int = 100) -> list[RefusalRecord]:
        """Return the newest refusals first."""
        ...

    async def forget_refusals(self, body_sha256: str | None = None) -> int:
        """Delete the refusals of one body, or all; return how many."""
        ...

    async def option_set(self, module: str, name: str) -> OptionSet | None:
        """Return one option set."""
        ...

    async def option_sets(self, module: str | None = None) -> list[OptionSet]:
        """Return all option sets by module and name."""
        ...

    async def put_option_set(self, option_set: OptionSet) -> None:
        """Store or replace one."""
        ...

    async def delete_option_set(self, module: str, name: str) -> bool:
        """Return whether there was one."""
        ...

    # the fleet
    async def beat(self, worker: WorkerRecord) -> Wanted:
        """Store a heartbeat; return what people want of the worker."""
        ...

    async def workers(self, offline_after: float) -> list[WorkerRecord]:
        """Return the workers; those silent for `offline_after` seconds are `offline`."""
        ...

    async def steer(self, worker_id: str | None, wanted: Wanted) -> list[str]:
        """Ask one worker, or all, to run, pause or drain; return the ids asked."""
        ...

    async def facts(self) -> DatabaseFacts:
        """Return what is known of the database itself."""
        ...

    async def check(self) -> None:
        """Return if the schema is the newest; Misconfigured names the command otherwise."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


# --------------------------------------------------------------------------- the broker


class Delivery(Protocol):
    """A message not yet settled."""

    @property
    def body(self) -> bytes:
        """Return the body as it came."""
        ...

    @property
    def headers(self) -> Mapping[str, Any]:
        """Return the headers."""
        ...

    @property
    def message_id(self) -> str | None:
        """Return the publisher's message id."""
        ...

    @property
    def queue(self) -> str:
        """Return the queue it came from."""
        ...

    @property
    def routing_key(self) -> str:
        """Return the routing key it was published with."""
        ...

    @property
    def redelivered(self) -> bool:
        """Return whether the broker gave it to somebody before."""
        ...

    async def settle(self, outcome: Outcome, job_id: str | None = None, lane: str = "", priority: str = "") -> bool:
        """Settle as `outcome` says, once; return whether the broker still knew the delivery.

        A copy (Retry, Defer, Forward) is published with confirm under `job_id`, `lane` and `priority` before
        the original is acked; BrokerUnavailable when it was not confirmed.
        """
        ...


class Consumer(Protocol):
    """One job at a time over several queues: sweep, then wait (broker.md)."""

    async def next(self, *, wait: bool = True) -> Delivery | None:
        """Return the next message in priority order; None when there is none and `wait` is False.

        Reconnects by itself. Cancelling it leaves no consumer and loses no message.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class Events(Protocol):
    """`media.events`: what any other program may subscribe to."""

    async def publish(self, routing_key: str, event: Mapping[str, object]) -> None:
        """Publish, best effort: a broker that is away loses events, never jobs."""
        ...


# --------------------------------------------------------------------------- files


@dataclass(frozen=True, slots=True)
class Stat:
    """What is known of an external file without reading it."""

    bytes: int
    media_type: str | None = None


Confirm: TypeAlias = "Callable[[], Awaitable[None]]"
"""Awaited right before a fixed name changes; raises LeaseLost when the job is not ours any more."""


class Storage(Protocol):
    """One kind of place that files come from or go to.

    Errors: RefusedPath outside the roots, SourceMissing, StorageUnavailable after own retries, DiskFull,
    MountMissing.
    """

    @property
    def schemes(self) -> frozenset[str]:
        """Return the URI schemes it serves."""
        ...

    def admit(self, place: External, *, writing: bool) -> External:
        """Return `place` if jobs may touch it (links and `..` resolved); RefusedPath otherwise."""
        ...

    async def stat(self, place: External) -> Stat | None:
        """Return what is there, or None."""
        ...

    async def listing(self, folder: External) -> tuple[External, ...]:
        """Return the files that stand directly in a folder, by name; SourceMissing when there is no such folder."""
        ...

    async def fetch(self, place: External, into: Path) -> Path:
        """Return a local path of the file: itself on a NAS, else a complete copy at `into`."""
        ...

    async def stage(self, artifacts: Sequence[Artifact]) -> None:
        """Bring the bytes there without changing anything that a reader can see."""
        ...

    async def reveal(self, artifacts: Sequence[Artifact], confirm: Confirm) -> None:
        """Make staged artifacts visible under their fixed names, in this order, sizes checked."""
        ...

    async def discard(self, artifacts: Sequence[Artifact]) -> None:
        """Remove what `stage` left; nothing that a reader can see changes, immutable files aside."""
        ...

    async def delete(self, place: External) -> None:
        """Delete a file; none there is success."""
        ...

    async def check(self) -> None:
        """Return if the storage can be written to now."""
        ...

    def url(self, place: External) -> str:
        """Return the address that the record shows."""
        ...


# --------------------------------------------------------------------------- programs


class Runner(Protocol):
    """Where programs start."""

    async def run(
        self,
        pipeline: Pipeline,
        on_line: Callable[[str], None] | None = None,
        *,
        timeout: float | None = None,
        stall: float | None = None,
        label: str = "",
        on_error: Callable[[str, str], None] | None = None,
    ) -> tuple[Exit, ...]:
        """Return how every stage ended.

        `on_line` gets the lines of the last stage's standard output, `on_error` (program, line) those of every
        stage's standard error, neither of them redacted.

        `timeout` and `stall` are seconds; a pipeline that exceeds them is stopped (TERM to its groups, 2 s, KILL)
        and its exits tell the reason, as they do when this coroutine is cancelled, which stops it likewise.
        When it returns no descendant is alive. `label` marks the processes' environment
        (`LEVERET_ATTEMPT`), so that leftovers of a killed worker can be found. ToolMissing when a program
        does not start.
        """
        ...

    async def sweep(self, live: Callable[[str], bool]) -> int:
        """Kill processes of labels that are not live; return how many."""
        ...


# --------------------------------------------------------------------------- who counts


@dataclass(frozen=True, slots=True)
class Settled:
    """A settled delivery.

    `seconds` it was held; `waited` before its first attempt, where the publisher told when it queued the job;
    `ended` says that it brought its job to its end, `error` what a failed attempt ended with.
    """

    outcome: Outcome
    lane: str
    priority: str
    modules: tuple[str, ...]
    seconds: float
    waited: float | None
    error: BaseException | None
    ended: bool


class Observer(Protocol):
    """Whoever counts what happens: it neither waits nor raises."""

    def settled(self, seen: Settled) -> None:
        """Hear of a settled delivery."""
        ...

    def moved(self, direction: str, scheme: str, count: int) -> None:
        """Hear of `count` bytes that went `in` from or `out` to a storage."""
        ...


class Unobserved:
    """Counts nothing."""

    def settled(self, seen: Settled) -> None:
        """Ignore it."""

    def moved(self, direction: str, scheme: str, count: int) -> None:
        """Ignore it."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Where the programs are: name → path; a missing one has no entry."""

    paths: Mapping[str, str] = field(default_factory=dict)
