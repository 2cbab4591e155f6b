"""The commands that people and scripts type. Names, flags and exit codes are public (docs/reference)."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from typer.exceptions import TyperException

from worker import __version__
from worker import logs as logs_of_program
from worker.adapters.threads import leave
from worker.cli import run
from worker.cli.words import say, warn
from worker.core.errors import InvalidJob, LeveretError
from worker.core.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    AddTo: TypeAlias = Callable[[typer.Typer], None]

PROGRAM = "leveret"
INTERRUPTED = 130
GROUPS = ("run", "submit", "jobs", "logs", "dead", "workers", "options", "schema", "doctor", "reconcile", "undo")

EPILOG = """\b
Examples:
  leveret                           take jobs and run them
  leveret submit job.json --watch   give one in and see how it goes
  leveret dead show                 why the last one died"""


def main(*faces: AddTo) -> None:
    """End the process with the exit code of the command on its command line; `faces` add the commands of others."""
    sys.excepthook = _tell_fault
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A pipe is told line by line too: `watch` and `logs --follow` are read while they run.
        sys.stdout.reconfigure(line_buffering=True)
    code = call(sys.argv[1:], *faces)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    leave(code)


def call(arguments: list[str], *faces: AddTo) -> int:
    """Return the exit code of the command: 0, 1 for an error, 2 for wrong usage, 130 for Ctrl-C, or its own."""
    logs_of_program.for_commands()
    try:
        found = command_line(_groups(arguments), *(() if arguments[:1] in ([], ["run"]) else faces))
        result = found(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except InvalidJob as error:
        for problem in error.problems:
            warn(str(problem))
        return 1
    except LeveretError as error:
        warn(str(error))
        return 1
    except TyperException as error:
        warn(_usage(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return 1
    return result if isinstance(result, int) else 0


def _groups(arguments: list[str]) -> Sequence[str]:
    """Return the modules whose commands these arguments may mean: a worker and a server do without the others."""
    if arguments[:1] in ([], ["run"]):
        return GROUPS[:1]
    return () if arguments[:1] == ["serve"] else GROUPS


def command_line(groups: Sequence[str] = GROUPS, *faces: AddTo) -> typer.Typer:
    """Return the command line with the commands of these modules, and those that `faces` add.

    A worker lives for weeks beside tools that need its memory: it does without the 4 MB of what draws tables.
    """
    cli = typer.Typer(
        name=PROGRAM,
        help="Leveret: media workers on RabbitMQ. Without a command, be a worker.",
        epilog=EPILOG,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    cli.callback(invoke_without_command=True)(root)
    for group in groups:
        import_module(f"worker.cli.{group}").add_to(cli)
    for add_to in faces:
        add_to(cli)
    return cli


def root(
    context: typer.Context,
    drain: run.Drain = False,
    lanes: run.Lanes = None,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> int:
    """Return the exit code of what is done without a command."""
    if show_version:
        say(f"{PROGRAM} {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        if sys.stderr.isatty():
            warn(f"this is a worker now: Ctrl-C ends it, and `{PROGRAM} --help` lists the commands")
        return run.run(drain, lanes)
    if drain or lanes is not None:
        raise typer.BadParameter(f"--drain and --lanes belong to `run`, not to `{context.invoked_subcommand}`")
    return 0


def _usage(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    where = context.command_path if context else PROGRAM
    message = error.format_message().replace("Value error, ", "").rstrip(".")
    return f"{message}; see `{where} --help`"


def _tell_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Tell a fault of ours in one line too; `python -X dev` shows where it lies."""
    if sys.flags.dev_mode:
        sys.__excepthook__(kind, error, trace)
    warn(f"this is a fault of {PROGRAM}, please report it: {redact(f'{kind.__name__}: {error}')}")


def _forget_stdout() -> None:
    """Let nothing more be written to a reader that is gone (`leveret jobs | head`), the exit's own flush included."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
