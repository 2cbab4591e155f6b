"""Logging of a worker: structlog, one line an event, secrets redacted at the last step."""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING, Any

import structlog

from worker.core.errors import Misconfigured
from worker.core.redaction import redact

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_STEERING = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
LEVELS = ("debug", "info", "warning", "error")


def configure(level: str, form: str) -> None:
    """Set up logging to standard error; `form` is `json` or `text`, by default text on a terminal."""
    if level.lower() not in LEVELS:
        raise Misconfigured(f"WORKER_LOG_LEVEL: {level!r} is no level; there are {', '.join(LEVELS)}")
    if form not in {"", "json", "text"}:
        raise Misconfigured(f"WORKER_LOG_FORMAT: {form!r} is neither json nor text")
    number = getattr(logging, level.upper())
    as_text = form == "text" or (not form and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if as_text else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redacted,
            *((_on_its_line,) if as_text else ()),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # aio-pika logs every reconnect as an error with a trace, httpx every URL with its signature; our events say enough.
    for name in ("aio_pika", "aiormq", "asyncio", "botocore", "boto3", "s3transfer", "pika", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def for_commands() -> None:
    """Let what a command does on the way say nothing below an error, and that on standard error."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _redacted(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: redact(value) if isinstance(value, str) else value for key, value in event.items()}


def _on_its_line(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Return an event none of whose texts steers a terminal or begins a line that poses as another event."""
    trace = event.pop("exception", None)
    shown = {key: _STEERING.sub(_escaped, value) if isinstance(value, str) else value for key, value in event.items()}
    if isinstance(trace, str):
        shown["exception"] = "\n".join(f"  | {_STEERING.sub(_escaped, line)}" for line in trace.split("\n"))
    return shown


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
