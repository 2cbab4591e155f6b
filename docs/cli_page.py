"""The page of the command line, from the Typer application."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

from model_tables import cell, table
from typer.main import get_command

from worker.cli import command_line
from worker.web.command import add_to as add_page_commands

if TYPE_CHECKING:
    from collections.abc import Iterator


def cli_page() -> list[str]:
    """Return the page of the command line."""
    root = get_command(command_line(None, add_page_commands))
    lines = [
        "# Command line",
        "",
        "`leveret` and `python -m worker` are the same program. Exit codes: 0 done, 1 an error in one line on",
        "standard error, 2 wrong usage, 130 Ctrl-C; with `submit --wait`, `submit --watch` and `watch ID`, how the job",
        "ended (0 completed, 1 dead, 2 cancelled). `--json` prints one document on standard output and nothing else.",
    ]
    for name, command in commands(root, "leveret"):
        lines += ["", f"## {name}", "", cell(command.help or ""), "", f"`{usage(name, command)}`"]
        rows = [option_row(option) for option in command.params if not option.hidden]
        if rows:
            lines += ["", *table(("Parameter", "Default", "Meaning"), rows)]
        if example := re.findall(r"(?:^|: )(leveret .*|echo .*)$", command.epilog or "", re.MULTILINE):
            lines += ["", "```sh", *example, "```"]
    return lines


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, with its full name."""
    if not getattr(command, "commands", None) or command.invoke_without_command:
        yield name, command
    for word, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {word}")


def usage(name: str, command: Any) -> str:
    """Return how a command is typed."""
    words = [argument(option) for option in command.params if not option.opts[0].startswith("-")]
    options = ["[OPTIONS]"] if any(option.opts[0].startswith("-") for option in command.params) else []
    return " ".join([name, *words, *options])


def argument(option: Any) -> str:
    """Return how an argument is typed, in brackets when it may be left away."""
    name = option.metavar or option.name.upper()
    return name if option.required else f"[{name}]"


def option_row(option: Any) -> tuple[str, str, str]:
    """Return a parameter's row: how it is typed, its default, what it means."""
    if not option.opts[0].startswith("-"):
        return (
            f"`{argument(option)}`",
            "required" if option.required else "none",
            option.help or "",
        )
    choices = get_args(option.type_descriptor.annotation)
    value = "" if option.is_flag else f" {option.metavar or '|'.join(map(str, choices)) or option.name.upper()}"
    default = "off" if option.is_flag else "none" if option.default is None else f"`{option.default}`"
    return f"`{', '.join(option.opts)}{value}`", default, option.help or ""
