"""What the page says: why a job waits, texts of strangers, numbers."""

from __future__ import annotations

import html
import re
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.web import site
from worker.core.attempt import Failure
from worker.core.figures import age, size, span
from worker.core.record import JobRecord, WorkerRecord
from worker.core.views import Sample, WaitingJob
from worker.web.chart import chart_of
from worker.web.formats import number, sentence
from worker.web.waits import why_it_waits

LACKS = {("render-1", "r2"): {"r2": "tool:mkvmerge (not installed)"}}
NOW = datetime(2026, 11, 27, 6, tzinfo=UTC)


def words_of(page):
    """Return the words of a page, one space between two."""
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def waiting(state="queued", lane="cpu", due=None, refused=()):
    job = JobRecord(
        job_id="a", title="A", state=state, round=1, lane=lane, priority="normal", dialect="canonical", created_at=NOW
    )
    return WaitingJob(job=job, due_seconds=due, refused_by=dict.fromkeys(refused, "") | LACKS.get(tuple(refused), {}))


def worker(name="render-1", status="idle", lanes=("cpu",), **more):
    return WorkerRecord(
        worker_id=name, hostname="h", pid=1, version="1", status=status, lanes=list(lanes), seen_at=NOW, **more
    )


@pytest.mark.parametrize(
    ("one", "fleet", "before", "expected"),
    [
        (waiting("retrying", due=112.0), [worker()], 0, "retry due in 1:52"),
        (waiting(lane="nvenc"), [worker()], 0, "no living worker serves nvenc"),
        (waiting(), [worker(status="offline")], 0, "no living worker serves cpu; render-1 did, and is offline"),
        (waiting(refused=["render-1"]), [worker()], 0, "render-1 cannot do it, and no other worker serves cpu"),
        (
            waiting(refused=["render-1", "r2"]), [worker(), worker("r2")], 0,
            "render-1, r2 cannot do it: tool:mkvmerge (not installed), and no other worker serves cpu",
        ),
        (waiting(), [worker(status="paused", wanted="pause")], 0, "render-1 is paused"),
        (
            waiting(), [worker(status="paused", wanted="pause", problem="/nas is not there")], 0,
            "render-1 is paused, and reports: /nas is not there",
        ),
        (
            waiting(), [worker(status="paused", problem="outside its active hours 22:00-06:00")], 0,
            "render-1 waits: outside its active hours 22:00-06:00",
        ),
        (waiting(), [worker(status="draining")], 0, "render-1 is shutting down, and no other worker serves cpu"),
        (waiting(), [worker(status="in_progress")], 0, "render-1 is busy"),
        (waiting(), [worker(status="in_progress")], 1, "render-1 is busy; 1 job is before it"),
        (
            waiting(), [worker(status="in_progress"), worker("render-2", "in_progress"), worker("r3", "paused")], 7,
            "all 2 workers of cpu are busy; 7 jobs are before it",
        ),
        (waiting(), [worker("r2", "in_progress"), worker()], 0, "render-1 is free and takes it within seconds"),
        (waiting(), [worker(status="startup")], 0, "render-1 is starting"),
    ],
)  # fmt: skip
def test_why_a_job_waits_is_one_sentence(one, fleet, before, expected):
    assert why_it_waits(one, fleet, before) == expected


def test_numbers_are_as_people_read_them():
    assert [span(42), span(3723), span(None)] == ["0:42", "1:02:03", ""]
    assert [age(42), age(7200), age(-3)] == ["42 s", "2 h", "0 s"]
    assert [size(0), size(1536), size(40 << 30), size(None)] == ["0 B", "1.5 KiB", "40.0 GiB", ""]
    assert number(123456) == "123\u202f456"
    assert [sentence("a b"), sentence("A?")] == ["A b.", "A?"]


def test_hardware_is_a_line_from_its_first_to_its_last_sample():
    samples = [
        Sample(
            worker_id="a", at=NOW + timedelta(seconds=10 * n), cpu_percent=50 * n, ram_percent=200, disk_free_bytes=1
        )
        for n in range(3)
    ]
    chart = chart_of(samples)
    assert chart.cpu == "0.0,120.0 300.0,60.0 600.0,0.0"
    assert chart.ram == "0.0,0.0 300.0,0.0 600.0,0.0"
    assert chart_of(samples[:1]) is None


PAYLOADS = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>', "' onmouseover='alert(1)",
    "</title><script>alert(1)</script>", "</textarea><script>alert(1)</script>", "</pre><script>alert(1)</script>",
    "javascript:alert(1)",
    "{{ 7*191 }}", "{% raw %}", "${7*7}", "<!--", "-->", "]]>", "&lt;script&gt;", "%3Cscript%3E",
    "\u202egnp.exe", "\u2066x", "a\nb", "a\rb", "\x1b[31m", "`", "\\", "\\u003cscript\\u003e", "<base href=//evil>",
    "<meta http-equiv=refresh content=0;url=//evil>", "<iframe src=//evil>", "<style>*{display:none}</style>",

    "<form action=//evil><input name=token>", "' or 1=1 --",
]  # fmt: skip
MARKS = (
    "<script>alert", "<img src=x", "<svg onload", "<base ", "<iframe", "<style>*", "<form action=//evil",
    "<meta http-equiv",
)  # fmt: skip


async def test_texts_of_strangers_are_texts_on_every_screen(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        for index, payload in enumerate(PAYLOADS):
            await here.die(f"job-{index}", payload, payload)
            await here.beat(
                f"w{index}{payload}"[:100], hostname=payload, job_title=payload, job_id="x", problem=payload,
                version=payload,
                capabilities={"proved": True, "encoders": {payload: payload}},
            )  # fmt: skip
            (tmp_path / "nas" / f"{index}{payload.replace('/', '_')}".replace("\x00", "")).write_text("x")
        paths = ["/", "/jobs", "/fleet", "/settings", "/new/browse?folder=nas://", "/dead"]
        paths += [f"/jobs/job-{index}" for index in range(len(PAYLOADS))]
        paths += [f"/new?again=job-{index}" for index in range(len(PAYLOADS))]
        for path in paths:
            page = (await client.get(path)).text
            for mark in MARKS:
                assert mark not in page, (path, mark)
            assert "\u202e" not in page
            assert "1337" not in page
        for payload in PAYLOADS:
            for path in ("/jobs", "/login", "/new", "/nowhere"):
                params = {"text": payload, "next": payload, "module": payload, "done": payload, "again": payload[:20]}
                answer = await client.get(path, params=params)
                for mark in MARKS:
                    assert mark not in answer.text, (path, mark)
                assert answer.headers["content-type"].startswith("text/html")
            reply = await client.post("/new", data={"text": payload, "module": payload, "action": "try"})
            for mark in MARKS:
                assert mark not in reply.text, payload


async def test_every_screen_is_drawn_for_a_job_of_every_kind(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        film = tmp_path / "out" / "film.mp4"
        film.write_bytes(b"x")
        await here.submit("queued")
        await here.run("running")
        await here.die("dead")
        await here.complete("without-files")
        await here.complete("with-a-file", film)
        again = await here.claim("retrying")
        await here.repository.retry_later(again, Failure("it failed", "ToolFailed", "render-1", 1), 60)
        publishing = await here.claim("publishing")
        await here.repository.announce(publishing, ("nas://a",))
        await here.repository.request_cancel("cancelled-unseen")
        await here.beat("render-1", status="in_progress", job_id="running", job_title="R")
        await here.beat("render-2", status="paused", problem="the disk is full")
        await here.beat("render-3", lanes=[], status="startup")
        for _ in range(3):
            await here.services.views.sample(600)
            await here.beat("render-1", status="idle")
        ids = (
            "queued",
            "running",
            "dead",
            "without-files",
            "with-a-file",
            "retrying",
            "publishing",
            "cancelled-unseen",
        )
        paths = ["/", "/jobs", "/fleet", "/fleet/render-1", "/fleet/render-3", "/dead", "/settings", "/new", "/login"]
        paths += [f"/jobs/{name}" for name in ids] + [f"/new?again={name}" for name in ids]
        paths += [f"/new?module={name}" for name in here.services.registry.tasks]
        for path in paths:
            answer = await client.get(path)
            assert answer.status_code == 200, (path, answer.text[-500:])
        page = (await client.get("/jobs/with-a-file")).text
        assert f"/api/v1/through/file{film}" in page
        assert "retry due in" in (await client.get("/jobs/retrying")).text


async def test_a_divided_job_shows_who_makes_which_part(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        await here.divide("whole")
        page = (await client.get("/jobs/whole")).text
        assert page.count('<li class="cell ') == 3
        assert 'title="part 2: running, render-2, 61 %"' in page
        assert [word in page for word in ("cell-completed", "cell-running", "cell-queued")] == [True] * 3
        assert "61 %, 48 fps" in page
        parts = (await client.get("/api/v1/jobs/whole")).json()["parts"]
        home = (await client.get("/")).text
        assert "Made in parts" in home
        assert "Title of whole" in home
        assert "whole.p000" not in home
        assert "of the same modules" not in page
        assert [(part["index"], part["state"], part["worker"]) for part in parts][1] == (1, "running", "render-2")


async def test_the_home_shows_how_far_a_divided_job_is_and_which_parts_of_it_wait(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        assert "Nothing waits." in words_of((await client.get("/")).text)
        await here.divide("whole", count=4)
        home = words_of((await client.get("/")).text)
        assert "40.2 % parts 48 fps 0:12 left" in home
        assert "cpu · 2 parts ·" in home
        assert "2 parts of one job wait, and nothing else." in home
        assert "Nothing waits." not in home
        await here.submit("next")
        assert "cpu · 1 + 2 parts ·" in words_of((await client.get("/")).text)
        assert "40 %" in words_of((await client.get("/jobs")).text)


async def test_the_module_is_kept_while_somebody_looks_for_its_source(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        (tmp_path / "nas" / "film.mkv").write_bytes(b"film")
        assert "/new/browse?module=ffmpeg" in (await client.get("/new?module=ffmpeg")).text
        assert "module=ffmpeg" in (await client.get("/new/browse?module=ffmpeg")).text
        folder = html.unescape((await client.get("/new/browse?module=ffmpeg&folder=nas://")).text)
        (link,) = re.findall(r'href="(/new\?source=[^"]*)"', folder)
        form = html.unescape((await client.get(link)).text)
        assert '"sources": [\n          "nas://film.mkv"' in form
        assert '"module": "ffmpeg"' in form
        mux = html.unescape((await client.get("/new?module=probe&source=nas://film.mkv")).text)
        assert '"source": "nas://film.mkv"' in mux


async def test_every_screen_names_the_zone_of_its_times(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        async with site(tmp_path) as here, here.client() as client:
            assert re.search("Times in CES?T", words_of((await client.get("/")).text))
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


async def test_the_card_of_a_worker_that_makes_a_part_has_a_bar(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        await here.divide("whole")
        await here.beat("render-2", status="in_progress", job_id="whole.p0001", job_title="Title of whole 2/3")
        home = (await client.get("/")).text
        (card,) = re.findall(r'<li class="card">\s*<div class="card-head">.*?</li>', home, re.DOTALL)
        assert '<progress max="100" value="61.0"' in card
        assert "Title of whole part 2/3 61.0 % ffmpeg 48 fps" in words_of(card)
        assert "0:09 left" in words_of(card)


async def test_more_divided_jobs_than_the_home_has_room_for_are_counted(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        for number in range(10):
            await here.divide(f"film-{number}")
        assert "and 2 more" in words_of((await client.get("/")).text)


async def test_a_job_says_what_it_took_beside_what_similar_jobs_took(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        film = tmp_path / "out" / "film.mp4"
        film.write_bytes(b"x" * 2048)
        await here.complete("first", film)
        await here.submit("next")
        page = (await client.get("/jobs/first")).text
        assert (
            "It took 0:00 and made 2.0 KiB. 1 completed job of the same modules (this one with them) typically took"
            in page
        )
        waiting = (await client.get("/jobs/next")).text
        assert "1 completed job of the same modules typically took 0:12 and made 2.0 KiB" in waiting
        await here.die("broken")
        assert "of the same modules" not in (await client.get("/jobs/broken")).text


async def test_the_page_of_a_worker_shows_what_it_proved_of_itself(tmp_path):
    proved = {
        "encoders": {"libx264": True, "hevc_vaapi": "no device"},
        "decoders": ["h264", "hevc"],
        "tools": {"ffmpeg": True},
    }
    async with site(tmp_path) as here, here.client() as client:
        await here.beat("w1", capabilities=proved)
        page = await client.get("/fleet/w1")
        assert page.status_code == 200
        assert all(name in page.text for name in ("libx264", "no device", "h264", "ffmpeg"))
