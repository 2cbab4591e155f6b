"""Every command in one table: its name, the function behind it, its help."""

from __future__ import annotations

from typing import Final

import typer

from worker.cli.command import Command

GROUPS: Final = {
    "dead": "Show dead messages, run them again, or delete them.",
    "folders": "Folders whose films become jobs by themselves.",
    "hooks": "Calls from other programs that make jobs.",
    "notifications": "Messages about ended jobs: mail, chat, webhooks.",
    "option-sets": "Options that jobs name instead of repeating them.",
    "schedules": "Templates and scans that a server runs by the clock.",
    "templates": "Jobs with variables, made into one job for each source.",
}

COMMANDS: Final = (
    Command(
        "run",
        "run:run",
        "Take jobs and run them. One at a time, until SIGTERM or Ctrl-C. This is what happens without a command.",
        "Example: leveret run --lanes cpu,visualize",
    ),
    Command(
        "submit",
        "submit:submit",
        "Check a message, publish it and print the job's id. With --wait or --watch, the exit code says how "
        "the job ended: 0 completed, 1 dead, 2 cancelled. With --template, make a job of each source: what is done "
        "already, and what conforms, is skipped; exit 1 if a source could not be made into a job.",
        """\b
Examples:
  leveret submit job.json --watch
  echo '{"tasks": [...]}' | leveret submit - --priority high
  leveret submit --template h265-archive nas://in/film.mkv title='A film' --watch
  leveret submit --template h265-archive 'nas://in/**/*.{mkv,mp4}' --dry-run""",
    ),
    Command(
        "jobs",
        "jobs:jobs",
        "List the newest jobs.",
        "Example: leveret jobs --state dead --since 2h",
        asks_only_the_database=True,
    ),
    Command(
        "job",
        "job:job",
        "Show everything about one job.",
        "Example: leveret job 9b0c --json",
        asks_only_the_database=True,
    ),
    Command(
        "watch",
        "watch:watch",
        "Follow one job, or all. One is followed until it ends (exit 0 completed, 1 dead, 2 cancelled), all are "
        "until q or Ctrl-C.",
        "Example: leveret watch 9b0c",
    ),
    Command(
        "cancel",
        "cancel:cancel",
        "Cancel a job. At once while it waits; a running one is stopped by its worker within seconds.",
        "Example: leveret cancel 9b0c",
    ),
    Command(
        "retry",
        "cancel:retry",
        "Run a job again. A dead or cancelled one gets a new round of attempts; a retrying one does not wait.",
        "Example: leveret retry 9b0c && leveret watch 9b0c",
    ),
    Command(
        "undo",
        "undo:undo",
        "Put back what a job replaced or deleted. Originals are kept for WORKER_UNDO_DAYS; without an id, list them.",
        """\b
Examples:
  leveret undo                 what can be put back
  leveret undo 9b0c            put back what that job replaced or deleted
  leveret undo 9b0c --forget   delete it for good, which frees its space""",
    ),
    Command(
        "logs",
        "logs:logs",
        "Print the output of a job's tools. Command lines, standard error and exits of its newest attempt.",
        "Example: leveret logs 9b0c --follow",
        asks_only_the_database=True,
    ),
    Command("dead list", "dead:show_list", "List the dead messages, newest first."),
    Command(
        "dead show",
        "dead:show",
        "Show one dead message with every reason; without ID the newest.",
        "Example: leveret dead show 3f2a9c01",
    ),
    Command(
        "dead replay",
        "dead:replay",
        "Publish a dead message again, its job in a new round of attempts.",
        "Example: leveret dead replay --all",
    ),
    Command("dead purge", "dead:purge", "Delete one dead message, or all, for good.", "Example: leveret dead purge -y"),
    Command("workers", "workers:workers", "List the workers and their jobs."),
    Command(
        "pause",
        "workers:pause",
        "Let a worker take no more jobs. It finishes the one it has, and stays paused after a restart.",
        "Example: leveret pause render-1",
    ),
    Command(
        "resume",
        "workers:resume",
        "Let a paused worker take jobs again. --all leaves out offline workers.",
        "Example: leveret resume --all",
    ),
    Command("drain", "workers:drain", "Let a worker finish its job and exit.", "Example: leveret drain render-1"),
    Command(
        "forget",
        "workers:forget",
        "Remove offline workers from the list. One, or all that were silent for so long; a worker that returns is "
        "listed again.",
        "Example: leveret forget --silent 7d",
    ),
    Command("option-sets list", "options:show_list", "List the option sets."),
    Command("option-sets get", "options:get", "Print one option set as JSON."),
    Command(
        "option-sets put",
        "options:put",
        "Store or replace an option set.",
        """\b
Examples:
  leveret option-sets put ffmpeg opus-128k --options '{"codec": "libopus", "b": "128k"}'
  leveret option-sets put ffmpeg x265-slow x265-slow.json""",
    ),
    Command("option-sets delete", "options:delete", "Delete an option set."),
    Command(
        "scan",
        "scan:scan",
        "Check a folder against a template. It changes nothing, lists what does not conform and what is broken, and "
        "estimates how much a run would save. Exit 1 if a file is broken.",
        """\b
Examples:
  leveret scan nas://films --template h265-archive
  leveret scan 'nas://films/**/*.mkv' --template h265-archive --health
  leveret scan nas://films --template h265-archive --submit --limit 5""",
    ),
    Command("folders list", "folders:show_list", "List the watched folders, and how many files are in which state."),
    Command("folders get", "folders:get", "Print one folder as JSON, in the shape that `put` takes."),
    Command("folders files", "folders:files", "List the files that were seen in a folder, and the outcome of each."),
    Command(
        "folders put",
        "folders:put",
        "Store or replace a watched folder. A running `leveret serve` watches it.",
        """\b
Examples:
  leveret folders put inbox nas://inbox --template web-mp4
  leveret folders put inbox nas://inbox --template web-mp4 --afterwards move --move-to nas://done
  leveret folders put inbox folder.json""",
    ),
    Command("folders pause", "folders:pause", "Take nothing from a folder until `resume`."),
    Command("folders resume", "folders:resume", "Take films from a paused folder again."),
    Command("folders delete", "folders:delete", "Delete a folder; its jobs and its files stay."),
    Command("templates list", "templates:show_list", "List the templates, those that are shipped too."),
    Command(
        "templates get",
        "templates:get",
        "Print a template as JSON, in the shape that `put` takes.",
        "Example: leveret templates get h265-archive > mine.json",
    ),
    Command(
        "templates put",
        "templates:put",
        "Check a template and store it as the next version. Jobs that were made of an earlier one stay as they are.",
        "Example: leveret templates put film film.json",
    ),
    Command("templates delete", "templates:delete", "Delete a template.", "Example: leveret templates delete film"),
    Command(
        "templates try",
        "templates:try_template",
        "Print the job that a template makes of a source, without submitting it. Exit 1 if it makes none.",
        "Example: leveret templates try h265-archive nas://in/film.mkv title='A film'",
    ),
    Command("hooks list", "hooks:show_list", "List the hooks and their addresses."),
    Command("hooks get", "hooks:get", "Print one hook as JSON; … stands for its secret."),
    Command(
        "hooks put",
        "hooks:put",
        "Store or replace a hook. If it names no secret, one is made and printed once.",
        """\b
Example:
  echo '{"kind": "github", "template": "gource-1080p"}' | leveret hooks put film -""",
    ),
    Command(
        "hooks calls", "hooks:calls", "List the calls that were signed with the hook's secret, and their outcomes."
    ),
    Command("hooks delete", "hooks:delete", "Delete a hook."),
    Command("notifications list", "notifications:show_list", "List the notifications."),
    Command(
        "notifications get",
        "notifications:get",
        "Print one notification as JSON; … stands for what is secret.",
    ),
    Command(
        "notifications put",
        "notifications:put",
        "Store or replace a notification. `leveret serve` sends it.",
        """\b
Example:
  echo '{"url": "ntfys://ntfy.sh/my-films", "states": ["dead"]}' | leveret notifications put phone -""",
    ),
    Command("notifications delete", "notifications:delete", "Delete a notification, and what it has not sent yet."),
    Command("notifications test", "notifications:send_sample", "Send a sample now, and say why it did not arrive."),
    Command("schedules list", "schedules:show_list", "List the schedules, when each runs next, and how it went."),
    Command("schedules get", "schedules:get", "Print a schedule as JSON."),
    Command(
        "schedules put",
        "schedules:put",
        "Store or replace a schedule. A missed run is made up once.",
        """\b
Examples:
  leveret schedules put nightly --cron '30 3 * * *' --zone Europe/Berlin -t h265-archive 'nas://films/**/*.mkv'
  leveret schedules put health --cron '0 4 * * sun' -t h265-archive --scan --health nas://films""",
    ),
    Command("schedules delete", "schedules:delete", "Delete a schedule."),
    Command("schedules run", "schedules:run_now", "Run a schedule now; exit 1 if the run failed."),
    Command(
        "schema",
        "schema:schema",
        "Print a JSON Schema. That of the canonical message, or of one module's data.",
        "Example: leveret schema ffmpeg > ffmpeg.schema.json",
    ),
    Command(
        "validate",
        "schema:validate",
        "Check a message without running it. Exit 0 if a worker would take it, else 1.",
        "Example: leveret validate job.json",
    ),
    Command(
        "doctor",
        "doctor:doctor",
        "Check all that a worker here needs. Each line is ok, or says what to do; exit 1 if one is an error. With "
        "LEVERET_SERVER, check what the server needs.",
        "Example: leveret doctor --json",
    ),
    Command(
        "reconcile",
        "reconcile:reconcile",
        "Compare database, broker and storage. Finds jobs without a message, deletions and uploads left behind, "
        "scratch of this host or the server's; with --mend repairs them. Exit 1 if something remains to be repaired.",
        "Example: leveret reconcile --mend",
    ),
)


def add_commands(cli: typer.Typer, chosen: str | None) -> None:
    """Add every command; without `chosen` all are loaded, else those of this first word, and help has the others."""
    groups = {name: typer.Typer(help=text, rich_markup_mode=None) for name, text in GROUPS.items()}
    for command in COMMANDS:
        function = command.load() if chosen in {None, command.word} else _unloaded
        name = command.name.removeprefix(f"{command.word} ")
        groups.get(command.word, cli).command(name, help=command.help, epilog=command.epilog or None)(function)
    for name, group in groups.items():
        cli.add_typer(group, name=name)


def _unloaded() -> None:
    """Take the place of a function that this command line does not call."""
