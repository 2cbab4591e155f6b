"""Text logs: what an error quotes neither steers a terminal nor poses as another line."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest
import structlog

from worker import logs

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTILE = "a\x1b[2Jb\x9b31mc\u202ed\r\n2026-11-27 [error] job_lost"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged as text."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    logs.configure("info", "text")
    yield out
    structlog.reset_defaults()


def test_a_value_stays_on_its_line_and_steers_nothing(written: io.StringIO) -> None:
    structlog.get_logger().warning("it_failed", error=HOSTILE)
    text = written.getvalue()
    assert text.count("\n") == 1
    assert not set(text) & set("\x1b\x9b\u202e\r")
    assert "job_lost" in text


def test_a_trace_is_seen_to_be_one(written: io.StringIO) -> None:
    try:
        {}[HOSTILE]
    except KeyError:
        structlog.get_logger().exception("it_failed")
    lines = written.getvalue().splitlines()
    assert not set(written.getvalue()) & set("\x1b\x9b\u202e")
    assert all(line.startswith("  | ") for line in lines[1:])
    assert any("job_lost" in line for line in lines[1:])
