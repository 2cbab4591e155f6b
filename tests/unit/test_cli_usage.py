"""The command line as a whole: its help, wrong usage, a wrong setting or database, and a reader that has gone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.command_line import one_line

COMMANDS = (
    "run", "submit", "jobs", "job", "logs", "watch", "cancel", "retry", "workers", "pause", "resume", "drain", "schema",
    "validate", "doctor", "dead list", "dead show", "dead replay", "dead purge", "option-sets list",
    "option-sets get", "option-sets put", "option-sets delete",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(cli, command):
    answer = cli.type(*command.split(), "--help")
    assert answer.code == 0
    assert answer.out.startswith(f"Usage: leveret {command}")
    assert answer.err == ""


def test_help_lists_every_command_and_cuts_none_of_its_lines(cli):
    answer = cli.type("--help")
    assert answer.code == 0
    assert {command.split()[0] for command in COMMANDS} <= set(answer.out.split())
    assert "..." not in answer.out.partition("Commands:")[2]


def test_the_version_is_reported(cli):
    assert cli.type("--version").out.startswith("leveret 0")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ("bogus", "No such command 'bogus'"),
        ("jobs --stat dead", "--state"),
        ("jobs --state lost", "'lost' is not one of"),
        ("jobs --limit 0", "--limit"),
        ("job", "ID"),
        ("dead", "Missing command"),
        ("dead replay", "--all"),
        ("dead replay x --all", "--all"),
        ("dead purge", "--yes"),
        ("pause", "--all"),
        ("option-sets put echo name", "--options"),
        ("--lanes moon", "'moon' is no lane"),
        ("--drain jobs", "belong to `run`"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(cli, arguments, word):
    assert word in one_line(cli.type(*arguments.split()), 2)


def test_a_database_that_is_behind_names_the_command(cli, monkeypatch):
    monkeypatch.setenv("WORKER_DATABASE_URL", f"sqlite:///{cli.folder}/new.db")
    (cli.folder / "new.db").touch()
    assert "behind on migrations" in one_line(cli.type("jobs"))


@pytest.mark.parametrize(
    "command",
    [
        "jobs", "job x", "workers", "cancel x --unseen", "option-sets list", "watch", "run --drain", "submit job.json",
        "submit --template h265-archive nas://film.mkv", "scan nas://films --template h265-archive", "schedules run x",
    ],
)  # fmt: skip
def test_only_provisioning_makes_a_database(cli, monkeypatch, command):
    place = cli.folder / "typo" / "new.db"
    monkeypatch.setenv("WORKER_DATABASE_URL", f"sqlite:///{place}")
    monkeypatch.chdir(cli.folder)
    (cli.folder / "job.json").write_text("{}")
    line = one_line(cli.type(*command.split()))
    assert f"there is no database at {place}: is WORKER_DATABASE_URL right?" in line
    assert not place.parent.exists()


def test_a_database_that_was_never_named_is_reported_so(cli, monkeypatch):
    monkeypatch.delenv("WORKER_DATABASE_URL")
    monkeypatch.chdir(cli.folder)
    assert "leveret.db: WORKER_DATABASE_URL is not set; set it, or `python -m infra" in one_line(cli.type("jobs"))


def test_a_worker_without_a_command_says_on_a_terminal_how_it_ends(cli, monkeypatch):
    monkeypatch.setenv("WORKER_LEASE_SECONDS", "soon")
    assert "this is a worker now" not in cli.type().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert "this is a worker now: Ctrl-C ends it, and `leveret --help` lists" in cli.type().err


def test_a_wrong_setting_is_named(cli, monkeypatch):
    monkeypatch.setenv("WORKER_LEASE_SECONDS", "soon")
    assert "WORKER_LEASE_SECONDS" in one_line(cli.type("jobs"))


def test_a_fault_of_ours_is_one_line_too(cli):
    code = "import worker.cli as c, worker.cli.jobs as j; del j.jobs; c.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "jobs"],
        env=cli.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "AttributeError" in line


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_is_gone_is_no_error_to_tell(cli, unbuffered):
    for number in range(3):
        cli.insert(f"job-{number}")
    listing = subprocess.Popen(
        [sys.executable, "-m", "worker", "jobs"],
        env=cli.environment() | {"PYTHONUNBUFFERED": unbuffered}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    listing.stdout.close()
    assert listing.stderr.read() == b""
    listing.stderr.close()
    listing.wait(timeout=20)


HELP_IMPORTS = {"annotated_doc", "shellingham", "typer", "typing_extensions", "worker"}
HELP_IMPORTS_OF_OURS = {
    "worker.__main__", "worker.cli", "worker.cli.command", "worker.cli.commands", "worker.cli.run", "worker.cli.words",
    "worker.core", "worker.core.errors", "worker.core.routing",
    "worker.web", "worker.web.command",
}  # fmt: skip


def loaded_by(*arguments: str) -> set[str]:
    """Return the modules that a process has imported when `leveret` with these arguments is done."""
    code = (
        "import os, runpy, sys\n"
        "before, os._exit = set(sys.modules), sys.exit\n"
        "try:\n"
        "    runpy.run_module('worker', run_name='__main__')\n"
        "finally:\n"
        "    sys.stderr.write(' '.join(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    return set(done.stderr.splitlines()[-1].split())


def test_help_imports_what_it_needs_and_no_more():
    loaded = loaded_by("--help")
    foreign = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    assert foreign <= HELP_IMPORTS
    assert {name for name in loaded if name.startswith("worker.")} <= HELP_IMPORTS_OF_OURS
    assert not {"asyncio", "email", "http", "ssl"} & loaded


JOB_IMPORTS = HELP_IMPORTS | {
    "annotated_types", "dotenv", "pydantic", "pydantic_core", "pydantic_settings", "rich", "typing_inspection",
}  # fmt: skip
JOB_IMPORTS_OF_OURS = HELP_IMPORTS_OF_OURS | {
    "worker.adapters", "worker.adapters.sql", "worker.adapters.sql.quick", "worker.adapters.sql.records",
    "worker.adapters.sql.revision",
    "worker.app", "worker.app.control", "worker.app.direct", "worker.app.direct.looks", "worker.app.operations",
    "worker.cli.arguments", "worker.cli.job", "worker.cli.render", "worker.cli.tables",
    "worker.control", "worker.control.errors", "worker.control.query", "worker.control.resources",
    "worker.control.waits",
    "worker.core.default_places", "worker.core.figures", "worker.core.hints", "worker.core.hours",
    "worker.core.listing", "worker.core.local_names", "worker.core.record",
    "worker.settings", "worker.settings.client", "worker.settings.serve", "worker.settings.shared",
    "worker.settings.wording", "worker.settings.worker",
}  # fmt: skip


@pytest.mark.parametrize("name", ["a-job", "a-jo"])
def test_looking_at_one_job_of_an_sqlite_file_imports_what_it_needs_and_no_more(cli, name):
    cli.insert("a-job")
    loaded = loaded_by("job", name)
    # The interpreter's own `_sysconfigdata…` is in no list of the standard library.
    foreign = {name.partition(".")[0] for name in loaded if not name.startswith("_")} - sys.stdlib_module_names
    assert foreign <= JOB_IMPORTS
    assert {name for name in loaded if name.startswith("worker.")} <= JOB_IMPORTS_OF_OURS


def test_pydantic_looks_for_no_plugins_in_every_installed_distribution(cli):
    cli.insert("a-job")
    code = (
        "import importlib.metadata as m, runpy; m.distributions = None; runpy.run_module('worker', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "job", "a-job"],
        env=cli.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_looking_at_jobs_needs_neither_broker_nor_tasks_nor_what_draws(cli):
    cli.insert("a-job")
    loaded = loaded_by("jobs")
    assert {"worker.cli.jobs", "worker.adapters.sql"} <= loaded
    unneeded = {
        "aio_pika", "pika", "structlog", "rich.console", "rich.table", "sqlalchemy.dialects.postgresql",
        "sqlalchemy.ext.asyncio", "sqlalchemy.orm",
        "worker.adapters.rabbitmq", "worker.app.worker", "worker.control.dead_letters", "worker.engine",
        "worker.media", "worker.registry", "worker.tasks",
        "worker.adapters.sql.intake", "worker.adapters.sql.repository", "worker.core.folder", "worker.core.hook",
        "worker.core.schedule", "worker.core.template",
    }  # fmt: skip
    assert not unneeded & loaded


def test_a_worker_loads_nothing_that_only_commands_use():
    code = "import sys, worker.app.worker, worker.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pika", "httpx", "boto3", "prometheus_client", "worker.cli.tables"} & set(done.stdout.split())
