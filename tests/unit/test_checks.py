"""What the doctor makes of its answers."""

from __future__ import annotations

import os
from collections import Counter
from types import SimpleNamespace

import pytest

from worker.adapters.checks import machine, records, services
from worker.core.ports import DatabaseFacts
from worker.core.topology import topology


class Database:
    """Answers as a database with these facts would."""

    def __init__(self, product="postgresql", version=(15, 4), ahead=0.0) -> None:
        self._facts = DatabaseFacts(product, version, ahead)
        self.closed = False

    async def check(self):
        return

    async def facts(self):
        return self._facts

    async def steer(self, _worker, _wanted):
        return []

    async def close(self):
        self.closed = True


class Broker:
    def __init__(self, version) -> None:
        self.version = version

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return


@pytest.mark.parametrize(
    ("ahead", "status", "word"), [(0.4, "ok", "0.4 s behind"), (-3, "warning", "3.0 s ahead of"), (900, "error", "NTP")]
)
async def test_a_clock_that_is_off_is_reported(ahead, status, word):
    database = Database(ahead=ahead)
    found = await services.clock(database)
    assert found.status == status
    assert word in f"{found.fact} {found.advice}"
    assert database.closed


@pytest.mark.parametrize(
    ("product", "version", "status"),
    [("postgresql", (15, 4), "ok"), ("postgresql", (12, 9), "warning"), ("sqlite", (3, 40, 1), "ok"),
     ("sqlite", (3, 34), "warning")],
)  # fmt: skip
async def test_an_old_database_is_reported(product, version, status):
    assert (await services.database(Database(product, version))).status == status


class Fleet(Database):
    """No worker, and jobs that wait in these lanes."""

    def __init__(self, *waiting) -> None:
        super().__init__()
        self._waiting = Counter(waiting)

    async def workers(self, _offline_after):
        return []

    async def waiting_by_lane(self):
        return self._waiting


async def test_a_fleet_without_a_worker_is_reported_with_the_command_that_starts_one():
    found = await records.lanes(Fleet(), 15.0)
    assert (found.status, found.fact) == ("warning", "no worker is running")
    assert found.advice == "start one with `leveret run`"
    found = await records.lanes(Fleet("cpu", "cpu"), 15.0)
    assert found.fact == "no worker is running; jobs wait in lanes without a worker: 2 in cpu"
    assert "`leveret run`" in found.advice


class Unprovisioned(Broker):
    def __init__(self, gone) -> None:
        super().__init__((3, 10, 8))
        self._gone = gone

    async def differences(self, queues):
        return tuple(f"the queue {queue.name} is missing" for queue in queues[: self._gone])

    async def refusals(self, exchanges):
        return tuple(f"publish to {exchange.name}" for exchange in exchanges[:2])


async def test_a_broker_before_provision_is_one_short_line():
    queues = topology().queues
    found = await services.broker(Unprovisioned(len(queues)), topology())
    assert (found.fact, found.advice) == (
        "it answers, but no queue of Leveret is declared",
        "run `python -m infra provision`",
    )
    assert queues[0].name in (await services.broker(Unprovisioned(1), topology())).fact
    refused = await services.broker(Unprovisioned(0), topology())
    assert (refused.status, "set_permissions" in refused.advice) == ("error", True)
    assert refused.fact == "the user of WORKER_BROKER_URL may not publish to media.dlx, publish to media.unrouted"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ffmpeg version 5.1.9-0+deb12u1 Copyright (c) 2000-2026 the FFmpeg developers", "ffmpeg 5.1.9-0+deb12u1"),
        ("git version 2.39.5", "git 2.39.5"),
        ("Gource v0.53", "Gource v0.53"),
    ],
)
def test_a_version_is_reported_without_its_authors(line, expected):
    assert machine.brief(line) == expected


@pytest.mark.parametrize(
    ("version", "timeout", "status"),
    [((3, 10, 8), 1800, "warning"), ((3, 10, 8), 172800, "ok"), ((3, 8, 9), 1800, "ok"), ((), 1800, "warning"),
     ((4, 1, 0), 86399, "warning"), ((4, 1, 0), 0, "ok")],
)  # fmt: skip
async def test_the_brokers_time_out_is_compared_with_the_longest_job(version, timeout, status):
    found = await services.broker_timeout(Broker(version), timeout, 86400)
    assert found.status == status
    assert "a job may take 86400 s" in found.fact
    if status == "warning":
        assert f"takes a delivery back after {timeout} s" in found.fact
        assert "`consumer_timeout = 86400000` into rabbitmq.conf" in found.advice
        assert found.advice.endswith("then set WORKER_BROKER_TIMEOUT_SECONDS=86400")
        # Before 3.12 a policy with that key is refused.
        assert ("set_policy" in found.advice) == (version >= (3, 12))


async def test_a_root_states_its_mount_and_its_space_and_a_missing_one_is_an_error(tmp_path, monkeypatch):
    found = await machine.folder(tmp_path, "WORKER_ROOTS")
    assert found.status in {"ok", "warning"}
    assert "GiB free" in found.fact
    assert "mounted at /" in found.fact
    missing = await machine.folder(tmp_path / "none", "WORKER_NAS_ROOT")
    assert (missing.status, missing.advice) == ("error", "mount it, make it, or correct WORKER_NAS_ROOT")
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.W_OK)
    assert "read-only for the worker's user" in (await machine.folder(tmp_path, "WORKER_ROOTS")).fact
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert (await machine.folder(tmp_path, "WORKER_ROOTS")).status == "error"
    monkeypatch.undo()
    usage = SimpleNamespace(free=1 << 20)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _path: usage)
    assert (await machine.folder(tmp_path, "WORKER_ROOTS")).status == "warning"


@pytest.mark.parametrize(
    ("alone", "tokens", "there", "status", "word"),
    [
        (True, 0, True, "ok", "for this machine only"),
        (False, 0, True, "error", "no token is set"),
        (False, 2, True, "ok", "2 tokens"),
        (True, 0, False, "warning", "the players for HLS and DASH are missing"),
    ],
)
async def test_the_page_is_judged_by_who_reaches_it_and_what_it_plays(tmp_path, alone, tokens, there, status, word):
    if there:
        (tmp_path / "hls.min.js").write_text("")
    found = await machine.page("0.0.0.0:8080", alone=alone, tokens=tokens, players=tmp_path)
    assert (found.status, word in found.fact) == (status, True)
    assert bool(found.advice) == (status != "ok")
