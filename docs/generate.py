"""`make docs`: the pages of docs/reference that follow from the code, written anew; `--check` only compares."""

from __future__ import annotations

import asyncio
import sys
import tomllib
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from api_page import api_page
from cli_page import cli_page
from error_page import errors_page, sample_attempt
from ffmpeg_page import ffmpeg_page
from model_tables import cell, default_of, field_table, model_sections, nested, table
from pydantic import SecretStr
from template_page import template_page

from visualizers import GROUP as VISUALIZERS
from worker.adapters.metrics import metric_families
from worker.core import job, record, routing, topology
from worker.core.attempt import Progress, StateChange
from worker.core.message import predecessors
from worker.core.message.wire import MAX_BODY_BYTES, MAX_DEPTH
from worker.engine.host.announcer import Announcer
from worker.registry import GROUP, Registry
from worker.settings import Settings, variable_of
from worker.tasks.visualizer import visualizer_tasks
from worker.testing import NoRepositories

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs/reference"
WORDS = ("roots", "lanes", "serve_tokens", "serve_hosts", "serve_trusted_proxies")
IN_HOME = {
    "database_url": "`leveret.db` in `$XDG_STATE_HOME/leveret`, else in `~/.local/state/leveret`",
    "storage_url": "`storage` in `$XDG_DATA_HOME/leveret`, else in `~/.local/share/leveret`",
}
NOTE = "<!-- Written by `make docs` from the code: edit that. -->"

BY_HAND = {"glossary.md"}
"""Pages of the reference that no code could write."""


def main() -> int:
    """Return 0; with `--check` 1 when a page is stale, missing or of nothing."""
    wanted = {REFERENCE / name: "\n".join([NOTE, "", *lines, ""]) for name, lines in pages().items()}
    stray = {path for path in REFERENCE.rglob("*.md") if path not in wanted and path.name not in BY_HAND}
    stale = {path for path, text in wanted.items() if not path.exists() or path.read_text() != text}
    if "--check" in sys.argv:
        for path in sorted(stale | stray):
            sys.stderr.write(f"{path.relative_to(ROOT)} is not what the code says: run `make docs`\n")
        return 1 if stale or stray else 0
    for path in stray:
        path.unlink()
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
    return 0


def pages() -> dict[str, list[str]]:
    """Return the lines of every page by its name."""
    tasks = modules().tasks
    return {
        "settings.md": settings_page(),
        "modules.md": modules_page(tasks),
        **{f"modules/{name}.md": module_page(task) for name, task in tasks.items()},
        "message.md": message_page(),
        "records.md": records_page(),
        "events.md": events_page(),
        "metrics.md": metrics_page(),
        "templates.md": template_page(),
        "cli.md": cli_page(),
        "api.md": api_page(),
        "errors.md": errors_page(),
        "ffmpeg.md": ffmpeg_page(),
        "topology.md": topology_page(),
    }


def modules() -> Registry:
    """Return the modules that this tree's own pyproject.toml names, installed or not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points = project["entry-points"][GROUP]
    seen = project["entry-points"][VISUALIZERS]
    films = visualizer_tasks(NoRepositories(), [EntryPoint(name, value, VISUALIZERS) for name, value in seen.items()])
    return Registry.load([EntryPoint(name, value, GROUP) for name, value in points.items()], films)


def settings_page() -> list[str]:
    """Return the page of the worker's settings."""
    rows = []
    for name, info in Settings.model_fields.items():
        default = info.default
        match default:
            case _ if name in IN_HOME:
                shown = IN_HOME[name]
            case SecretStr():
                shown = f"`{default.get_secret_value()}`" if default.get_secret_value() else "empty"
            case Path():
                shown = f"`{default.name}` in the system's temporary folder"
            case tuple() if default:
                shown = f"`{','.join(f'{one:g}' for one in default)}`"
            case _:
                shown = default_of(info)
        annotation = info.annotation
        kind: Any = next((one for one in get_args(annotation) if one is not type(None)), annotation)
        kinds = {bool: "true or false", int: "integer", float: "number", Path: "path"}
        words = kinds.get(kind, "words, comma-separated" if name in WORDS else "text")
        words = {"retry_delays": "numbers, comma-separated", "path_map": "pairs, comma-separated"}.get(name, words)
        rows.append((f"`{variable_of(name)}`", words, shown, info.description or ""))
    return [
        "# Settings",
        "",
        "A worker and its commands read these variables from the environment, then from a file `.env` in the current",
        "folder. An invalid value prevents the start, with one line that names the variable. S3 is configured by",
        "the AWS SDK's own variables: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`,",
        "`AWS_ENDPOINT_URL_S3`.",
        "",
        *table(("Variable", "Type", "Default", "Meaning"), rows),
    ]


def modules_page(tasks: Mapping[str, Any]) -> list[str]:
    """Return the page that lists the modules."""
    rows = [(f"[`{name}`](modules/{name}.md)", cell(type(task).__doc__ or "")) for name, task in tasks.items()]
    return [
        "# Modules",
        "",
        "A task of a job names its module and gives its data. `leveret schema MODULE` prints the JSON Schema of the",
        "data. Further modules come from plug-ins: [write a task](../how-to/write-a-task.md).",
        "",
        *table(("Module", "What it does"), rows),
    ]


def module_page(task: Any) -> list[str]:
    """Return the page of one module."""
    return [f"# {task.module}", "", cell(type(task).__doc__ or ""), "", "## Data", "", *model_sections(task.params)]


def message_page() -> list[str]:
    """Return the page of the envelope and the dialects."""
    lines = [
        "# Messages",
        "",
        f"A publisher sends JSON to the exchange `{routing.JOBS}`. A message is at most {MAX_BODY_BYTES} bytes and",
        f"{MAX_DEPTH} levels deep, UTF-8, without repeated keys, with 1 to {job.MAX_TASKS} tasks. Unknown fields are",
        "refused by name. The keys of a message decide its dialect. One refusal lists every fault of the envelope and",
        "of the shape of the tasks, each with its path. Once these are right, one refusal lists the faults of all",
        "tasks; the faults of a task's options and paths are listed once its fields are right.",
        "",
        "## Canonical",
        "",
        *model_sections(job.JobMessage),
        "",
        "## Task map",
        "",
        'The canonical envelope with `"tasks": [{"ffmpeg": {…}}, {"cleanup": {…}}]`: each item has one key, the',
        "module's name, with the data.",
        "",
        "## Flat",
        "",
        "No `tasks`: the fields of the envelope, and every other key is a module's name with its data, in order.",
    ]
    titles: dict[str, tuple[type[BaseModel], str]] = {
        "gource": (predecessors.GourceMessage, 'Recognised by `"type"` without `tasks`. Becomes one `gource` task.'),
        "GOURCE": (
            predecessors.RenderMessage,
            'Recognised by `"renderType"`. Becomes one `gource` task. No log, record, error or event shows the token.',
        ),
        "Transcode": (
            predecessors.TranscodeMessage,
            "Recognised by `input` and `outputs`. Becomes one `hls` task; its relative paths are `nas://` paths.",
        ),
        "Assigned transcode": (
            predecessors.AssignedMessage,
            "Recognised by `assigned_job`, whose value is a transcode message.",
        ),
    }
    for title, (model, about) in titles.items():
        lines += ["", f"## {title}", "", about, "", *model_sections(model)]
    return lines


def records_page() -> list[str]:
    """Return the page of the records that `--json` prints and callbacks carry."""
    lines = [
        "# Records",
        "",
        "`leveret job ID --json`, `leveret jobs --json` and the POST to a `callback_url` carry a job's record without",
        "its `document`; `leveret workers --json` carries workers' records. Times are ISO 8601 with a time zone.",
        "",
        f"States: {', '.join(f'`{state}`' for state in record.STATES)}. Of these",
        f"{', '.join(f'`{state}`' for state in record.STATES if state in record.TERMINAL)} are final.",
    ]
    shown: set[str] = set()
    for model in (record.JobRecord, record.WorkerRecord, record.RefusalRecord):
        for one in (model, *nested(model)):
            if one.__name__ not in shown:
                lines += ["", f"## {one.__name__}", "", cell(one.__doc__ or ""), "", *field_table(one)]
            shown.add(one.__name__)
    return lines


@dataclass(slots=True)
class Recorder:
    """Takes the place of the publisher of events, and keeps them."""

    kept: dict[str, Mapping[str, object]] = field(default_factory=dict)

    async def publish(self, routing_key: str, event: Mapping[str, object]) -> None:
        """Note an event."""
        self.kept[routing_key] = event


def events_page() -> list[str]:
    """Return the page of the events."""
    recorder = Recorder()
    announcer = Announcer(recorder)  # type: ignore[arg-type]  # a recorder is all that it needs
    asyncio.run(announcer.progress(sample_attempt(), Progress()))
    asyncio.run(announcer.state(StateChange.by(sample_attempt(), "running")))
    progress, state = recorder.kept["job.progress"], recorder.kept["job.running"]
    beat = ["at", *(name for name in record.WorkerRecord.model_fields if name not in {"seen_at", "wanted"})]
    rows = [
        *((f"`job.{one}`", f"a job reached the state `{one}`", _words(["at", *state])) for one in record.STATES),
        ("`job.progress`", "a running job's progress changed; at most one a second", _words(["at", *progress])),
        ("`worker.heartbeat`", "every `WORKER_HEARTBEAT_SECONDS`, whatever else the worker does", _words(beat)),
    ]
    return [
        "# Events",
        "",
        f"Workers publish JSON objects to the topic exchange `{routing.EVENTS}`. Bind a queue of your own to it.",
        "Events are best effort: they are transient, and some are lost while the broker is away. The database is the",
        "authority. `attempt` is null where no attempt caused the state, `worker` where an operator's command did.",
        "A message that a program publishes has no event before a worker takes it. The fields of",
        "progress and of workers are those of the [records](records.md); `at` is the time of the event, ISO 8601.",
        "",
        *table(("Routing key", "When", "Fields"), rows),
    ]


def metrics_page() -> list[str]:
    """Return the page of what Prometheus gets."""
    rows = []
    for family in metric_families():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        name = f"{name}_info" if family.type == "info" else name
        rows.append((f"`{name}`", family.type, _words(list(family.labels)), cell(family.documentation)))
    return [
        "# Metrics",
        "",
        "With `WORKER_METRICS_ADDRESS=host:port` a worker serves these metrics at `/metrics` of that address, for",
        "itself only: sum them over the fleet. A histogram has `_bucket`, `_sum` and `_count` as usual. Those of the",
        "Python process (`process_*`, `python_info`) are Prometheus' own. The dashboard `infra/grafana/leveret.json`",
        "and the alerts `infra/prometheus/alerts.yaml` use nothing else.",
        "",
        *table(("Metric", "Type", "Labels", "Meaning"), rows),
    ]


def _words(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def topology_page() -> list[str]:
    """Return the page of what is declared in the broker."""
    declared = topology.topology()
    listed = [(f"`{one.name}`", one.type, arguments(one.arguments)) for one in declared.exchanges]
    queues = [(f"`{one.name}`", arguments(one.arguments)) for one in declared.queues]
    bindings = [
        (f"`{one.exchange}`", f"`{one.queue}`", f"`{one.routing_key}`" * bool(one.routing_key))
        for one in declared.bindings
    ]
    return [
        "# Topology",
        "",
        "What `python -m infra provision` declares in the broker, with the default settings. All of it is durable, and",
        "all queues are quorum queues. Other `WORKER_RETRY_DELAYS` make other delay queues: the delay is in the name.",
        "It also declares the exchange `media.fleet`,",
        "[the mark of the database](../explanation/broker.md#one-broker-one-database).",
        "The reasons are in [the broker](../explanation/broker.md).",
        "",
        "## Exchanges",
        "",
        *table(("Exchange", "Type", "Arguments"), listed),
        "",
        "## Queues",
        "",
        *table(("Queue", "Arguments"), queues),
        "",
        "## Bindings",
        "",
        *table(("Exchange", "Queue", "Routing key"), bindings),
        "",
        "## Headers that workers write",
        "",
        ", ".join(
            f"`{value}`"
            for name, value in vars(routing).items()
            if name.startswith("HEADER_") and value != routing.HEADER_DEATH
        ),
    ]


def arguments(values: Mapping[str, object]) -> str:
    """Return the arguments of a declaration."""
    return ", ".join(f"`{name}={value}`" for name, value in values.items())


if __name__ == "__main__":
    sys.exit(main())
