"""Schedules: when they are due, and what a run does."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from pydantic import ValidationError

from tests.support.web import site
from worker.control import Conflict, NotFound
from worker.control.intake.schedules import get_schedule, put_schedule, run_due, run_schedule
from worker.control.intake.templates import put_template
from worker.core.errors import InvalidJob
from worker.core.schedule import ScheduleDocument

LOOK = {
    "promise": ["video.codec == 'h264'"],
    "job": {"job_title": "{{ source.stem }}", "tasks": [{"module": "probe", "data": {"source": "{{ source.uri }}"}}]},
}
NIGHTLY = {"cron": "30 3 * * *", "zone": "Europe/Berlin", "template": "look", "sources": ["nas://in/*.mkv"]}
LOOK_AT_NAMES = {"job": LOOK["job"]}


def due(cron: str, zone: str, moment: datetime) -> datetime | None:
    return ScheduleDocument.model_validate(NIGHTLY | {"cron": cron, "zone": zone}).due_after(moment)


@pytest.mark.parametrize(
    ("cron", "zone", "after", "next_at"),
    [
        ("30 3 * * *", "UTC", datetime(2026, 6, 1, 3, 30, tzinfo=UTC), datetime(2026, 6, 2, 3, 30, tzinfo=UTC)),
        ("30 3 * * *", "Europe/Berlin", datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 6, 1, 1, 30, tzinfo=UTC)),
        ("30 3 * * *", "Europe/Berlin", datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 1, 2, 30, tzinfo=UTC)),
        ("0 0 29 2 *", "UTC", datetime(2026, 3, 1, tzinfo=UTC), datetime(2028, 2, 29, tzinfo=UTC)),
        ("0 4 * * sun", "UTC", datetime(2026, 11, 27, tzinfo=UTC), datetime(2026, 11, 29, 4, tzinfo=UTC)),
    ],
)
def test_a_schedule_is_due_by_the_clock_of_its_zone(cron, zone, after, next_at):
    assert due(cron, zone, after) == next_at


def test_a_night_without_half_past_two_and_one_with_two_of_them_have_one_run_each():
    spring, autumn = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)
    for start in (spring, autumn):
        times, moment = [], start
        for _ in range(3):
            moment = due("30 2 * * *", "Europe/Berlin", moment)
            times.append(moment)
        gaps = [(b - a) for a, b in pairwise(times)]
        assert all(timedelta(hours=22) <= gap <= timedelta(hours=26) for gap in gaps), times


def test_every_hour_is_every_hour_also_in_the_night_that_has_one_twice():
    moment = datetime(2026, 10, 24, 22, 30, tzinfo=UTC)
    times = [moment := due("0 * * * *", "Europe/Berlin", moment) for _ in range(5)]
    assert {b - a for a, b in pairwise(times)} == {timedelta(hours=1)}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"cron": "30 3 * *"}, "4 fields"),
        ({"cron": "61 3 * * *"}, "cannot be read"),
        ({"cron": "0 0 30 2 *"}, "it never comes"),
        ({"zone": "Europe/Berln"}, "is no time zone"),
        ({"zone": "../../etc/passwd"}, "is no time zone"),
        ({"limit": 0}, "greater than or equal to 1"),
        ({"crn": "x"}, "Extra inputs"),
    ],
)
def test_a_faulty_schedule_is_refused_with_its_fault(change, word):
    with pytest.raises(ValidationError) as caught:
        ScheduleDocument.model_validate(NIGHTLY | change)
    assert word in str(caught.value)


async def ready(here, template=LOOK_AT_NAMES):
    control = here.services.control
    await put_template(control, "look", template)
    (here.folder / "nas" / "in").mkdir()
    for name in ("a.mkv", "b.mkv"):
        (here.folder / "nas" / "in" / name).write_text(name)
    return control


async def miss(control, name: str, document=NIGHTLY) -> None:
    """Let a schedule have been due some years ago."""
    await put_schedule(control, name, document)
    stored = (await get_schedule(control, name)).document
    await control.stores.put_schedule(name, stored, datetime(2020, 1, 1, tzinfo=UTC))


async def test_missed_runs_are_made_up_once_and_by_one_server(tmp_path):
    async with site(tmp_path) as here:
        control = await ready(here)
        await miss(control, "nightly")
        ran = await asyncio.gather(*(run_due(control, f"server {number}") for number in range(4)))
        assert sum(ran) == 1
        assert len(here.broker.published) == 2
        record = await get_schedule(control, "nightly")
        assert record.last_outcome == "2 submitted, 0 skipped, 0 failed"
        assert datetime.now(UTC) < record.next_at < datetime.now(UTC) + timedelta(days=2)
        assert await run_due(control, "server 1") == 0
        origin = await control.stores.origin(here.broker.published[0][1])
        assert origin.asked_by == "schedule nightly"
        assert await run_schedule(control, "nightly", "a person") == "0 submitted, 2 skipped, 0 failed"


async def test_a_run_that_fails_says_why_and_is_due_again(tmp_path):
    async with site(tmp_path) as here:
        control = await ready(here)
        await miss(control, "gone", NIGHTLY | {"sources": ["nas://away/*.mkv"]})
        await miss(control, "none", NIGHTLY | {"sources": ["nas://in/*.mp4"]})
        assert await run_due(control, "server") == 2
        assert "does not exist" in (await get_schedule(control, "gone")).last_outcome
        record = await get_schedule(control, "none")
        assert record.last_outcome.startswith("failed: nothing matches")
        assert record.next_at > datetime.now(UTC)
        await miss(control, "late")
        await control.stores.delete_template("look")
        await run_due(control, "server")
        assert "there is no template 'look'" in (await get_schedule(control, "late")).last_outcome


async def test_a_scan_can_be_scheduled(tmp_path):
    async with site(tmp_path) as here:
        control = await ready(here, LOOK)
        await put_schedule(control, "check", NIGHTLY | {"action": "scan", "sources": ["nas://in"]})
        summary = await run_schedule(control, "check", "a person")
        assert summary == "nas://in: 2 looked at, 0 do not conform, 2 broken"
        assert here.broker.published == []


async def test_a_schedule_is_checked_when_it_is_stored(tmp_path):
    async with site(tmp_path) as here:
        control = await ready(here)
        with pytest.raises(NotFound, match="did you mean 'look'"):
            await put_schedule(control, "nightly", NIGHTLY | {"template": "lok"})
        with pytest.raises(InvalidJob, match="no such variable"):
            await put_schedule(control, "nightly", NIGHTLY | {"variables": {"title": "x"}})
        with pytest.raises(InvalidJob, match="at least one source"):
            await put_schedule(control, "nightly", NIGHTLY | {"sources": []})
        with pytest.raises(InvalidJob, match="no name"):
            await put_schedule(control, "Nightly", NIGHTLY)
        await put_schedule(control, "nightly", NIGHTLY | {"enabled": False})
        assert (await get_schedule(control, "nightly")).next_at is None
        await control.stores.claim_schedule("server", 30, "nightly")
        with pytest.raises(Conflict, match="runs already"):
            await run_schedule(control, "nightly", "a person")


async def test_schedules_over_the_api(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        await ready(here)
        stored = await client.put("/api/v1/schedules/nightly", json=NIGHTLY)
        assert stored.status_code == 200, stored.text
        assert stored.json()["document"] == NIGHTLY
        assert [one["name"] for one in (await client.get("/api/v1/schedules")).json()] == ["nightly"]
        assert (await client.put("/api/v1/schedules/nightly", json=NIGHTLY | {"cron": "x"})).status_code == 422
        assert (await client.delete("/api/v1/schedules/nightly")).status_code == 204
        assert (await client.get("/api/v1/schedules/nightly")).status_code == 404


def test_schedules_on_the_command_line(cli):
    cli.write("look.json", json.dumps(LOOK))
    cli.type("templates", "put", "look", "look.json")
    put = ("schedules", "put", "nightly", "--cron", "30 3 * * *", "-t", "look", "nas://in/*.mkv", "--zone", "UTC")
    assert "nightly is stored; it runs next at" in cli.type(*put).out
    assert "30 3 * * * UTC" in cli.type("schedules", "list").out
    assert json.loads(cli.type("schedules", "get", "nightly").out)["sources"] == ["nas://in/*.mkv"]
    assert "4 fields" in cli.type("schedules", "put", "x", "--cron", "* * * *", "-t", "look", "nas://a").err
    failed = cli.type("schedules", "run", "nightly")
    assert (failed.code, "failed" in failed.out) == (1, True)
    assert cli.type("schedules", "delete", "nightly").code == 0
