"""The pace of gource through a history, so that the film is as long as asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visualizers.gitlog import Commit
    from visualizers.gource_params import GourceParams

DAY: Final = 86_400
# below it gource's own arithmetic of speeds ends
SLOWEST: Final = 0.000_01
AFTER_SECONDS: Final = 13.0
"""About how long gource draws on after the last commit, until all has come to rest, at a time scale of one."""
SOONEST: Final = 0.5
"""Seconds of the fastest way through a history, at a time scale of one."""
NEAR_SECONDS: Final = 0.5
NEAR_SHARE: Final = 0.02


def speed(params: GourceParams, commits: Sequence[Commit]) -> float:
    """Return the film's seconds a day of history, before its frames were counted."""
    if params.seconds_per_day is not None:
        return params.seconds_per_day
    return max(params.length * params.time_scale - AFTER_SECONDS, SOONEST) / _days(commits)


def corrected(params: GourceParams, commits: Sequence[Commit], pace: float, frames: int) -> float | None:
    """Return the speed that makes a film of `frames` as long as asked for; None where it is, or cannot be."""
    off = params.length - frames / params.output_framerate
    if not _has_length(params) or _is_near(off, params):
        return None
    days = _days(commits)
    better = max(pace + off * params.time_scale / days, SOONEST / days)
    return None if better == pace else better


def miss_of(params: GourceParams, frames: int) -> str:
    """Return the warning of a film that is not as long as its job asks; empty where it is."""
    seconds = frames / params.output_framerate
    if "length" not in params.model_fields_set or not _has_length(params):
        return ""
    if _is_near(params.length - seconds, params):
        return ""
    return (
        f"the film lasts {seconds:.1f} s, not {params.length:g} s: gource draws on after the last commit, and passes"
        " over days without one (time_scale, auto_skip_seconds)"
    )


def pace_text(seconds_per_day: float) -> str:
    """Return a speed as gource's option has it."""
    return f"{max(seconds_per_day, SLOWEST):.6f}"


def with_pace(command: tuple[str, ...], seconds_per_day: float) -> tuple[str, ...]:
    """Return gource's command at another speed."""
    at = command.index("--seconds-per-day") + 1
    return (*command[:at], pace_text(seconds_per_day), *command[at + 1 :])


def _has_length(params: GourceParams) -> bool:
    """Return whether `length` sets the speed, and the film has no other end."""
    return params.seconds_per_day is None and params.stop_at_time is None


def _is_near(off: float, params: GourceParams) -> bool:
    return abs(off) <= max(NEAR_SECONDS, NEAR_SHARE * params.length)


def _days(commits: Sequence[Commit]) -> float:
    return max((commits[-1].time - commits[0].time) / DAY, 1 / 24)
