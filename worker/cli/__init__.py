"""The commands that people and scripts type. Names, flags and exit codes are public (docs/reference)."""

from __future__ import annotations

import io
import os
import sys
import threading
from typing import TYPE_CHECKING, Annotated, Never, TypeAlias

import typer
from typer.exceptions import TyperException

from worker import __version__
from worker.cli import run
from worker.cli.commands import add_commands
from worker.cli.words import say, warn
from worker.core.errors import InvalidJob, LeveretError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    AddTo: TypeAlias = Callable[[typer.Typer], None]

PROGRAM = "leveret"
INTERRUPTED = 130

EPILOG = """\b
Examples:
  leveret                           take jobs and run them
  leveret submit job.json --watch   submit a job and follow it
  leveret dead show                 show why the last job died"""


def main(*faces: AddTo) -> None:
    """End the process with the exit code of the command on its command line; `faces` add the commands of others."""
    sys.excepthook = _report_fault
    # pydantic looks for plug-ins in every installed distribution, which takes a quarter of a short command.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A pipe gets line by line too: `watch` and `logs --follow` are read while they run.
        sys.stdout.reconfigure(line_buffering=True)
    code = call(sys.argv[1:], *faces)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    leave(code)


def call(arguments: list[str], *faces: AddTo) -> int:
    """Return the exit code of the command: 0, 1 for an error, 2 for wrong usage, 130 for Ctrl-C, or its own."""
    try:
        result = command_line(_first_word(arguments), *faces)(args=arguments, prog_name=PROGRAM, standalone_mode=False)
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


def _first_word(arguments: list[str]) -> str:
    """Return the command, or its group; empty where an option comes first."""
    return arguments[0] if arguments and not arguments[0].startswith("-") else ""


def command_line(chosen: str | None = None, *faces: AddTo) -> typer.Typer:
    """Return the command line with every command, and those that `faces` add.

    With `chosen`, the first word that a person typed, only what this command needs is imported: a person does not
    wait for the rest, and a worker, which lives for weeks beside tools that need its memory, does without it.
    """
    cli = typer.Typer(
        name=PROGRAM,
        help="Leveret: media workers on RabbitMQ. Without a command it runs a worker.",
        epilog=EPILOG,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    cli.callback(invoke_without_command=True)(root)
    add_commands(cli, chosen)
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


def leave(code: int) -> Never:
    """End the process with `code`; threads that still hang are not waited for, as the interpreter would."""
    sys.stdout.flush()
    sys.stderr.flush()
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        os._exit(code)
    sys.exit(code)


def _usage(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    where = context.command_path if context else PROGRAM
    message = error.format_message().replace("Value error, ", "").rstrip(".")
    return f"{message}; see `{where} --help`"


def _report_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Report a fault of ours in one line too; `python -X dev` shows where it is."""
    if sys.flags.dev_mode:
        sys.__excepthook__(kind, error, trace)
    from worker.core.redaction import redact  # noqa: PLC0415 - its patterns take a while to compile

    warn(f"this is a fault of {PROGRAM}, please report it: {redact(f'{kind.__name__}: {error}')}")


def _forget_stdout() -> None:
    """Write no more to a reader that is gone (`leveret jobs | head`), not even the flush at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
