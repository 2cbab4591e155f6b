"""`leveret doctor` with real services."""

from __future__ import annotations

import json
import re
import shutil
import time
import uuid
from urllib.parse import urlsplit

import httpx

from worker.app import doctor


def test_the_doctor_finds_what_is_well_and_what_is_not(cli_with_broker, broker_url, monkeypatch):
    document = json.loads(cli_with_broker.type("doctor", "--json").out)
    found = {check["name"]: check for check in document["checks"]}
    assert {"settings", "database", "broker", "storage", "scratch", "ffmpeg", "ffprobe", "gource"} <= set(found)
    assert {found[name]["status"] for name in ("settings", "database", "clock", "broker", "scratch")} == {"ok"}
    assert "sqlite 3." in found["database"]["fact"]
    limit = found["broker time-out"]
    assert limit["status"] == "warning"
    assert re.match(r"RabbitMQ \d+\.\d+", limit["fact"])
    assert "after 1800 s" in limit["fact"]
    assert "consumer_timeout = 86400000" in limit["advice"]
    monkeypatch.setenv("WORKER_BROKER_TIMEOUT_SECONDS", "172800")
    assert found["ffmpeg"]["fact"].startswith(shutil.which("ffmpeg") + ": ffmpeg ")
    monkeypatch.setenv("WORKER_RETRY_DELAYS", "7,8")
    monkeypatch.setenv("WORKER_FFMPEG", str(cli_with_broker.folder / "none"))
    monkeypatch.setenv("WORKER_SCRATCH_FREE_BYTES", str(1 << 60))
    answer = cli_with_broker.type("doctor", "--json")
    assert (answer.code, answer.err) == (1, "")
    found = {check["name"]: check for check in json.loads(answer.out)["checks"]}
    assert "media.retry.7s is missing" in found["broker"]["fact"]
    assert found["broker time-out"]["status"] == "ok"
    assert found["broker"]["advice"] == "run `python -m infra provision`"
    assert {found[name]["status"] for name in ("broker", "ffmpeg", "scratch")} == {"error"}


def test_the_doctor_names_what_broker_and_database_do_not_permit(cli_with_broker, broker_url, services, monkeypatch):
    management = services.environment()["RABBITMQ_MANAGEMENT_URL"]
    secret = uuid.uuid4().hex
    with httpx.Client(base_url=management) as client:
        client.put("api/users/looker", json={"password": secret, "tags": ""}).raise_for_status()
        rights = {"configure": ".*", "write": r"^media\.(events|dl.*|cpu.*)$", "read": "^media.events$"}
        client.put("api/permissions/%2F/looker", json=rights).raise_for_status()
    address = urlsplit(broker_url)
    monkeypatch.setenv("WORKER_BROKER_URL", f"amqp://looker:{secret}@{address.hostname}:{address.port}/")
    database = str(cli_with_broker.folder / "jobs.db")
    monkeypatch.setenv("WORKER_DATABASE_URL", f"sqlite:///file:{database}?mode=ro&uri=true")
    monkeypatch.setattr(doctor, "refuse_missing_sqlite", lambda _settings: None)
    found = {check["name"]: check for check in json.loads(cli_with_broker.type("doctor", "--json").out)["checks"]}
    finding = found["broker"]
    assert finding["status"] == "error"
    assert "may not publish to media.unrouted, publish to media.jobs" in finding["fact"]
    assert "publish to media.events" not in finding["fact"]
    assert finding["fact"].endswith("read media.dlq")
    assert "set_permissions" in finding["advice"]
    with httpx.Client(base_url=management) as client:
        client.delete("api/users/looker").raise_for_status()
    assert found["database"]["status"] == "error"
    assert "readonly" in found["database"]["fact"] or "read-only" in found["database"]["fact"]


def test_the_doctor_ends_soon_where_nothing_answers(cli):
    started = time.monotonic()
    answer = cli.type("doctor")
    assert answer.code == 1
    assert "Connection refused" in answer.out
    assert time.monotonic() - started < 30
