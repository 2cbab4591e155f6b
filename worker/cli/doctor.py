"""Every dependency, capability, queue, mount and setting that matters: well, or what to do."""

from __future__ import annotations

import asyncio
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from worker.app.diagnosis import doctor as look
from worker.cli.fitted import STYLES
from worker.cli.render import say_json
from worker.cli.tables import WIDTH, cut, on_terminal
from worker.cli.words import printable, say

if TYPE_CHECKING:
    from worker.core.finding import Finding

STATUS_WIDTH = 9
NAME_WIDTH = 24


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    prove: Annotated[bool, typer.Option("--prove", help="Try out the encoders and tools again.")] = False,
) -> int:
    """Return 0 if nothing is broken."""
    findings = asyncio.run(look(prove=prove))
    broken = any(finding.status == "error" for finding in findings)
    if as_json:
        checks = [{"name": finding.name} | finding.model_dump() for finding in findings]
        say_json({"ok": not broken, "checks": checks})
    else:
        for finding in findings:
            say_finding(finding.name, finding)
    return 1 if broken else 0


def say_finding(name: str, finding: Finding) -> None:
    """Print what is, and below it what to do, within 100 columns or the terminal; words stay whole to be copied."""
    style = STYLES.get(finding.status, "") if on_terminal() else ""
    head = f"{finding.status:<{STATUS_WIDTH}}{cut(name, NAME_WIDTH - 2):<{NAME_WIDTH}}"
    indent = " " * len(head)
    width = min(WIDTH, Console().width) if on_terminal() else WIDTH
    advice = f"to do: {finding.advice}" if finding.advice else ""
    lines = [*_wrapped(finding.fact, indent, width), *_wrapped(advice, indent, width)]
    for number, line in enumerate(lines):
        shown = Text(printable(line if number else head + line.lstrip()))
        shown.stylize(style, 0, len(finding.status) if number == 0 else 0)
        if on_terminal():
            Console().print(shown, soft_wrap=True)
        else:
            say(shown.plain)


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
