"""The names of everything in the broker: exchanges, queues, lanes, routing keys and headers."""

from __future__ import annotations

from typing import Final

JOBS: Final = "media.jobs"
UNROUTED: Final = "media.unrouted"
DEAD_EXCHANGE: Final = "media.dlx"
DEAD_QUEUE: Final = "media.dlq"
DEFER: Final = "media.defer"
DYING: Final = "media.dying"
DEATHS: Final = "media.deaths"
EVENTS: Final = "media.events"
FLEET: Final = "media.fleet"
"""Nothing goes through it: its alternate exchange, which need not be there, names the fleet's database."""

LANES: Final = ("cpu", "nvenc", "qsv", "vaapi", "visualize")
PRIORITIES: Final = ("high", "normal", "low")
DEFAULT_LANE: Final = "cpu"
DEFAULT_PRIORITY: Final = "normal"
DEFAULT_DELAYS: Final = (30.0, 120.0, 600.0)
DEFER_SECONDS: Final = 5.0
SHORT_DEFER_SECONDS: Final = 1.0
"""The delay for a message whose reason holds for less than `DEFER_SECONDS`, such as the rest of a lease."""

HEADER_ATTEMPT: Final = "x-attempt"
HEADER_ROUND: Final = "x-round"
HEADER_MAX_ATTEMPTS: Final = "x-max-attempts"
HEADER_LAST_ERROR: Final = "x-last-error"
HEADER_ERROR_TYPE: Final = "x-error-type"
HEADER_LAST_WORKER: Final = "x-last-worker"
HEADER_FAILED_AT: Final = "x-failed-at"
HEADER_FIRST_QUEUED_AT: Final = "x-first-queued-at"
HEADER_LANE: Final = "x-lane"
HEADER_REFUSED_BY: Final = "x-refused-by"
HEADER_HOPS: Final = "x-hops"
HEADER_DEATH_MARK: Final = "x-death-mark"
HEADER_STANDBY: Final = "x-standby"
HEADER_DEATH: Final = "x-death"

DEATH_HEADERS: Final = (
    HEADER_DEATH,
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-last-death-exchange",
    "x-last-death-queue",
    "x-last-death-reason",
    "x-delivery-count",
    "x-acquired-count",
)
"""Headers that the broker writes: stripped from every copy we publish, for 3.13 and older drop a cycle they see."""

COUNT_HEADERS: Final = (
    HEADER_ATTEMPT,
    HEADER_ROUND,
    HEADER_LAST_ERROR,
    HEADER_ERROR_TYPE,
    HEADER_LAST_WORKER,
    HEADER_FAILED_AT,
    HEADER_REFUSED_BY,
    HEADER_HOPS,
    HEADER_DEATH_MARK,
    HEADER_STANDBY,
)
"""Headers that we wrote of earlier attempts: stripped when a dead job is replayed."""


def queue_of(lane: str, priority: str) -> str:
    """Return the name of the queue that holds the jobs of `lane` at `priority`."""
    return f"media.{lane}.{priority}"


def routing_key(lane: str, priority: str) -> str:
    """Return the routing key on `media.jobs` that leads to `queue_of(lane, priority)`."""
    return f"{lane}.{priority}"


def route_of(queue: str) -> tuple[str, str]:
    """Return (lane, priority) of a job queue's name; ValueError for any other name."""
    parts = queue.split(".")
    if len(parts) != 3 or parts[0] != "media" or parts[1] not in LANES or parts[2] not in PRIORITIES:  # noqa: PLR2004 - media.<lane>.<priority>
        raise ValueError(f"{queue} is no job queue")
    return parts[1], parts[2]


def queues_of(lanes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the queues of `lanes` in the order in which an idle worker asks them: priority first."""
    return tuple(queue_of(lane, priority) for priority in PRIORITIES for lane in lanes)


def retry_name(delay: float) -> str:
    """Return the name of the exchange and queue for one delay in seconds: `media.retry.30s`.

    The delay is in the name, so that another setting makes another queue instead of a refused one.
    """
    return f"media.retry.{delay:g}s"


def defers(seconds: float = DEFER_SECONDS) -> tuple[float, ...]:
    """Return the seconds of the queues for what waits uncharged, the usual one first."""
    return (seconds, SHORT_DEFER_SECONDS) if seconds > SHORT_DEFER_SECONDS else (seconds,)


def defer_name(seconds: float = DEFER_SECONDS) -> str:
    """Return the name of the exchange and queue where a job waits that nobody is charged for."""
    return DEFER if seconds == DEFER_SECONDS else f"{DEFER}.{seconds:g}s"


def lane_of(requirements: frozenset[str]) -> str:
    """Return the lane that serves `requirements` (`encoder:h264_nvenc`, `tool:gource`, …)."""
    for suffix in ("nvenc", "qsv", "vaapi"):
        if any(name.startswith("encoder:") and name.endswith(f"_{suffix}") for name in requirements):
            return suffix
    return "visualize" if "tool:gource" in requirements else DEFAULT_LANE
