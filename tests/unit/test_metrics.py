"""What Prometheus reads, over HTTP, and what the dashboard and the alerts ask for."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from worker.adapters.metrics import Metrics, metric_families, metrics_server
from worker.core.attempt import Completed, Dead, Failure, Progress, Retry, Settlement
from worker.core.command import Command, Exit, Reason
from worker.core.errors import LeaseLost, Misconfigured
from worker.core.record import Hardware, WorkerRecord

ROOT = Path(__file__).parents[2]
FAILURE = Failure("ffmpeg exited 1", "ToolFailed", "w1", 1)


@pytest.fixture
def metrics():
    return Metrics(("ffmpeg", "hls"), ("ffmpeg",))


class Figures(dict[tuple[str, ...], float]):
    """(name, label values in any order…) → value."""

    def __getitem__(self, key: tuple[str, ...]) -> float:
        return super().__getitem__((key[0], *sorted(key[1:])))


def scraped(metrics: Metrics) -> Figures:
    """Return what a scrape over HTTP shows."""
    with metrics_server(metrics.registry, "127.0.0.1:0") as port:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return Figures({(one.name, *sorted(one.labels.values())): one.value for one in samples})


def settled(outcome, **values):
    return Settlement(outcome, **({"lane": "cpu", "priority": "high", "modules": ("ffmpeg",)} | values))


def test_settled_deliveries_are_counted_by_outcome_lane_and_module(metrics):
    metrics.settled(settled(Completed(), ended=True, waited=0.5), 2.0)
    metrics.settled(settled(Completed()), 2.0)
    metrics.settled(settled(Completed(), ended=True, modules=("ffmpeg", "hls")), 2.0)
    metrics.settled(settled(Completed(), ended=True, modules=("x" * 40,)), 2.0)
    metrics.settled(settled(Retry(30.0, FAILURE, 1)), 2.0)
    metrics.settled(settled(Dead(FAILURE), ended=True, modules=()), 2.0)
    metrics.settled(settled(Completed(), error=LeaseLost("gone")), 2.0)
    found = scraped(metrics)
    assert found["leveret_jobs_total", "completed", "cpu", "ffmpeg"] == 1
    assert found["leveret_jobs_total", "repeated", "cpu", "ffmpeg"] == 2
    assert found["leveret_jobs_total", "completed", "cpu", "several"] == 1
    assert found["leveret_jobs_total", "completed", "cpu", "other"] == 1
    assert found["leveret_jobs_total", "retry", "cpu", "ffmpeg"] == 1
    assert found["leveret_retries_total", "cpu", "ToolFailed"] == 1
    assert found["leveret_dead_total", "cpu", "ToolFailed"] == 1
    assert found[("leveret_lease_losses_total",)] == 1
    assert found["leveret_job_seconds_sum", "cpu", "ffmpeg"] == 2
    assert found["leveret_job_wait_seconds_count", "cpu", "high"] == 1
    assert found["leveret_job_wait_seconds_sum", "cpu", "high"] == 0.5


async def test_progress_shows_while_the_job_runs_and_not_after(metrics):
    await metrics.progressed(None, Progress(41.5, "ffmpeg", 60.0, 2.5, 10.0))
    found = scraped(metrics)
    assert (found[("leveret_job_percent",)], found[("leveret_encoder_fps",)]) == (41.5, 60)
    assert found[("leveret_encoder_speed",)] == 2.5
    metrics.settled(settled(Completed(), ended=True), 2.0)
    assert scraped(metrics)[("leveret_encoder_fps",)] == 0


def test_tools_and_bytes_are_counted_and_unknown_programs_are_one(metrics):
    for code, signal, reason, program in (
        (0, None, Reason.EXITED, "ffmpeg"),
        (1, None, Reason.EXITED, "ffmpeg"),
        (None, 9, Reason.EXITED, "ffmpeg"),
        (None, 15, Reason.TIMED_OUT, "ffmpeg"),
        (0, None, Reason.EXITED, "some-plugin-tool"),
    ):
        metrics.tool_ended(Exit(Command((f"/usr/bin/{program}",)), code, signal, 2.0, "", reason=reason, cpu_seconds=1))
    metrics.moved("out", "s3", 1000)
    found = scraped(metrics)
    for reason in ("ok", "failed", "killed", "timed_out"):
        assert found["leveret_tool_exits_total", "ffmpeg", reason] == 1
    assert found["leveret_tool_exits_total", "other", "ok"] == 1
    assert found["leveret_tool_seconds_total", "ffmpeg"] == 8
    assert found["leveret_tool_cpu_seconds_total", "ffmpeg"] == 4
    assert found["leveret_bytes_total", "out", "s3"] == 1000


def test_a_heartbeat_shows_the_worker_its_host_and_its_process(metrics):
    record = WorkerRecord(
        worker_id="w1", hostname="h", pid=1, version="1", status="paused", lanes=["cpu", "qsv"], problem="no mount",
        hardware=Hardware(cpu_percent=12.5, ram_percent=30, disk_free_bytes=99),
    )  # fmt: skip
    metrics.beat(record)
    found = scraped(metrics)
    assert found["leveret_worker_status", "paused"] == 1
    assert found["leveret_worker_status", "idle"] == 0
    assert found[("leveret_worker_unfit",)] == 1
    assert found[("leveret_host_cpu_percent",)] == 12.5
    assert found[("leveret_scratch_free_bytes",)] == 99
    assert any(key[0] == "leveret_worker_info" and "cpu,qsv" in key for key in found)
    assert found[("process_resident_memory_bytes",)] > 1e6


def test_an_address_that_is_taken_is_reported_with_the_setting(metrics):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(Misconfigured, match="WORKER_METRICS_ADDRESS"), metrics_server(metrics.registry, address):
            pass


# ------------------------------------------------------------------ what asks for them


def exported() -> dict[str, set[str]]:
    """Return every name that a query may use, and its labels."""
    endings = {
        "counter": ("_total",), "gauge": ("",), "info": ("_info",), "histogram": ("_bucket", "_sum", "_count"),
    }  # fmt: skip
    ours = {family.name + ending: set(family.labels) for family in metric_families() for ending in endings[family.type]}
    ours["leveret_worker_info"] = {"worker", "version", "lanes"}
    process = {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds"}
    return ours | {name: set() for name in process}


def queries() -> list[str]:
    rules = yaml.safe_load((ROOT / "infra/prometheus/alerts.yaml").read_text())
    board = json.loads((ROOT / "infra/grafana/leveret.json").read_text())
    alerts = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    panels = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    assert len(alerts) > 5
    assert len(panels) > 10
    return alerts + panels


RABBITMQ = {"rabbitmq_detailed_queue_messages_ready": {"queue", "vhost"}}
"""What the broker's own Prometheus plug-in tells (`/metrics/detailed?family=queue_coarse_metrics`)."""
TARGET = {"instance", "job", "le"}


def test_the_dashboard_and_the_alerts_name_only_metrics_and_labels_that_exist():
    known = exported() | RABBITMQ
    for query in queries():
        names = set(re.findall(r"\b(?:leveret|process|rabbitmq)_\w+", query))
        assert names or "up{" in query, query
        assert names <= known.keys(), (query, names - known.keys())
        labels = set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', query))
        for group in re.findall(r"(?:by|without|on|group_left)\s*\(([^)]*)\)", query):
            labels |= {word.strip() for word in group.split(",") if word.strip()}
        allowed = set().union(TARGET, *(known[name] for name in names))
        assert labels <= allowed, (query, labels - allowed)


def test_every_alert_says_what_is_wrong_and_what_to_do():
    rules = yaml.safe_load((ROOT / "infra/prometheus/alerts.yaml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"warning", "critical"}
            assert rule["annotations"].keys() >= {"summary", "description"}
