"""Every dependency, capability, queue, mount and setting that matters: well, or what to do."""

from __future__ import annotations

import asyncio
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from worker.app.doctor import checks as all_checks
from worker.cli.fitted import STYLES
from worker.cli.render import say_json
from worker.cli.tables import WIDTH, cut, on_terminal
from worker.cli.words import printable, say
from worker.core.errors import LeveretError, Misconfigured
from worker.core.finding import Finding
from worker.settings import load, unknown_variables

if TYPE_CHECKING:
    from worker.core.finding import Check

CHECK_SECONDS = 30.0
STATUS_WIDTH = 9
NAME_WIDTH = 24


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    prove: Annotated[bool, typer.Option("--prove", help="Prove anew what encoders and tools can do.")] = False,
) -> int:
    """Return 0 if nothing is broken."""
    findings = asyncio.run(_findings(prove=prove))
    broken = any(finding.status == "error" for _, finding in findings)
    if as_json:
        checks = [{"name": name} | finding.model_dump() for name, finding in findings]
        say_json({"ok": not broken, "checks": checks})
    else:
        for name, finding in findings:
            say_finding(name, finding)
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


async def _findings(*, prove: bool) -> list[tuple[str, Finding]]:
    """Return what was found, the settings first: without them nothing else can be looked at."""
    try:
        settings = load()
        checks = all_checks(settings, prove=prove)
    except Misconfigured as error:
        return [("settings", Finding(status="error", fact=str(error), advice="correct it in the environment or .env"))]
    found = [("settings", _settings())]
    return found + [(name, await outcome(check)) for name, check in checks]


def _settings() -> Finding:
    if strange := unknown_variables():
        return Finding(status="warning", fact="; ".join(strange), advice="correct it in the environment or .env")
    return Finding(status="ok", fact="every variable that is set can be read")


async def outcome(check: Check) -> Finding:
    """Return what a check found, its failure and its silence included."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check()
    except TimeoutError:
        return Finding(status="error", fact=f"no answer within {CHECK_SECONDS:.0f} s", advice="see whether it is up")
    except LeveretError as error:
        return Finding(status="error", fact=str(error))
