"""The API: what it answers, with which words, and what it does in between."""

from __future__ import annotations

import json
import zlib

from tests.support.web import site
from worker.core.errors import DatabaseUnavailable
from worker.core.message.dead_letter import DeadLetter
from worker.core.views import Changes
from worker.web.pulse import Pulse

MESSAGE = {"job_title": "A film", "tasks": [{"module": "probe", "data": {"source": "nas://film.mkv"}}]}


async def test_a_job_is_submitted_and_looks_as_on_the_command_line(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        answer = await client.post("/api/v1/jobs", json=MESSAGE, params={"priority": "high"})
        assert answer.status_code == 201, answer.text
        job = answer.json()["job"]
        assert answer.headers["location"] == f"/api/v1/jobs/{job['job_id']}"
        assert answer.json()["warnings"] == ["no living worker serves the lane cpu: the job waits until one does"]
        assert (job["state"], job["lane"], job["priority"], job["title"]) == ("queued", "cpu", "high", "A film")
        ((body, job_id, lane, priority),) = here.broker.published
        assert (json.loads(body), job_id, lane, priority) == (MESSAGE, job["job_id"], "cpu", "high")
        again = (await client.get(f"/api/v1/jobs/{job['job_id'][:8]}")).json()
        assert again == job
        assert "document" not in again
        message = (await client.get(f"/api/v1/jobs/{job['job_id']}/message")).json()
        assert message["tasks"] == MESSAGE["tasks"]


async def test_a_repeated_submission_is_the_same_job(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        key = {"Idempotency-Key": "order-17"}
        first = await client.post("/api/v1/jobs", json=MESSAGE, headers=key)
        again = await client.post("/api/v1/jobs", json=MESSAGE, headers=key)
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["job"]["job_id"] == again.json()["job"]["job_id"]
        assert len(here.broker.published) == 1
        other = await client.post("/api/v1/jobs", json=MESSAGE | {"job_title": "Another"}, headers=key)
        assert other.status_code == 409
        assert other.headers["content-type"] == "application/problem+json"


async def test_all_faults_of_a_message_are_reported(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        wrong = {"tasks": [{"module": "prob", "data": {}}, {"module": "probe", "data": {"sorce": 1}}]}
        answer = await client.post("/api/v1/jobs", json=wrong)
        assert answer.status_code == 422
        problem = answer.json()
        assert (problem["type"], problem["status"]) == ("urn:leveret:InvalidJob", 422)
        paths = {fault["path"] for fault in problem["problems"]}
        assert {"tasks[0]", "tasks[1].data.source"} <= paths
        assert "did you mean 'probe'" in problem["detail"]
        for body in (b"", b"{", b"\xff", b"[" * 5000, b'{"a": 1, "a": 2}'):
            assert (await client.post("/api/v1/jobs", content=body)).status_code == 422


async def test_a_broker_that_is_away_is_reported_and_leaves_no_job_behind(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        here.broker.away = True
        answer = await client.post("/api/v1/jobs", json=MESSAGE)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "does not answer" in answer.json()["detail"]
        assert (await client.get("/api/v1/jobs")).json()["jobs"] == []
        page = await client.get("/")
        assert page.status_code == 200
        assert "nothing can be submitted meanwhile" in page.text
        assert (await client.get("/readyz")).json() == {"ready": True, "database": "ok", "broker": "away"}
        assert (await client.get("/dead")).status_code == 200


async def test_a_database_that_is_away_is_reported_on_every_screen(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        database = tmp_path / "jobs.db"
        await here.repository.counts()
        database.write_bytes(b"no database " * 1000)
        for path in ("/", "/jobs", "/fleet", "/settings", "/dead", "/jobs/none"):
            answer = await client.get(path)
            assert answer.status_code in {200, 503}, (path, answer.status_code)
            assert "<h1" in answer.text
        answer = await client.get("/api/v1/jobs")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200


async def test_jobs_are_listed_by_filter_and_cursor(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        for number in range(5):
            await here.submit(f"job-{number}", lane="nvenc" if number % 2 else "cpu")
        await here.die("job-dead")
        first = (await client.get("/api/v1/jobs", params={"limit": 2, "lane": "cpu"})).json()
        rest = (
            await client.get("/api/v1/jobs", params={"limit": 9, "lane": "cpu", "cursor": first["next_cursor"]})
        ).json()
        ids = [job["job_id"] for job in first["jobs"] + rest["jobs"]]
        assert ids == ["job-dead", "job-4", "job-2", "job-0"]
        assert rest["next_cursor"] is None
        dead = (await client.get("/api/v1/jobs", params={"state": "dead", "details": True})).json()["jobs"]
        assert [(job["job_id"], len(job["attempts"])) for job in dead] == [("job-dead", 1)]
        for query in ({"cursor": "x"}, {"since": "soon"}, {"state": "odd"}, {"limit": 0}, {"since": "99999999999999d"}):
            answer = await client.get("/api/v1/jobs", params=query)
            assert answer.status_code == 422, query


async def test_a_row_that_was_not_changed_is_not_sent_again_and_one_that_was_is_not_touched(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        await here.submit("a-job")
        found = await client.get("/api/v1/jobs/a-job")
        etag = found.headers["etag"]
        assert (await client.get("/api/v1/jobs/a-job", headers={"If-None-Match": etag})).status_code == 304
        stale = await client.post("/api/v1/jobs/a-job/cancel", headers={"If-Match": '"another"'})
        assert stale.status_code == 412
        done = await client.post("/api/v1/jobs/a-job/cancel", headers={"If-Match": etag})
        assert done.json() == {"job_id": "a-job", "state": "cancelled"}
        again = await client.post("/api/v1/jobs/a-job/retry")
        assert (again.status_code, again.json()["round"]) == (200, 2)
        assert (await client.post("/api/v1/jobs/none/cancel")).status_code == 404


async def test_many_jobs_are_counted_before_anything_is_done(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        for number in range(3):
            await here.submit(f"job-{number}", lane="nvenc")
        await here.submit("other")
        asked = {"action": "cancel", "filter": {"lane": "nvenc"}}
        assert (await client.post("/api/v1/jobs/bulk", json=asked)).json()["matching"] == 3
        refused = await client.post("/api/v1/jobs/bulk", json=asked | {"dry_run": False, "expected": 2})
        assert refused.status_code == 409
        assert (await here.repository.counts()) == {"queued": 4}
        done = await client.post("/api/v1/jobs/bulk", json=asked | {"dry_run": False, "expected": 3})
        assert done.json() == {"matching": 3, "done": 3, "refused": [], "more": False}
        assert (await here.repository.counts()) == {"queued": 1, "cancelled": 3}
        (entry,) = (await client.get("/api/v1/audit")).json()["entries"]
        assert (entry["actor"], entry["action"], entry["outcome"], entry["detail"]["done"]) == (
            "local",
            "jobs.cancel",
            "done",
            3,
        )


async def test_a_dry_run_reports_the_fate_of_a_message_without_running_it(tmp_path):
    (tmp_path / "nas").mkdir()
    (tmp_path / "nas" / "film.mkv").write_bytes(b"x" * 100)
    async with site(tmp_path) as here, here.client() as client:
        await here.beat("render-1", capabilities={"proved": True, "tools": {"ffprobe": True}})
        await here.beat("render-2", lanes=["nvenc"])
        await here.complete("before")
        found = (await client.post("/api/v1/validate", json=MESSAGE)).json()
        assert (found["valid"], found["lane"], found["modules"]) == (True, "cpu", ["probe"])
        assert found["who"] == "1 of 2 workers can take it: render-1"
        assert found["candidates"][1]["missing"] == ["it does not serve the lane cpu"]
        assert found["sources"] == [{"uri": "nas://film.mkv", "bytes": 100, "problem": ""}]
        assert (found["expectation"]["jobs"], found["expectation"]["seconds"]) == (1, 12.5)
        wrong = (await client.post("/api/v1/validate", content=b"{")).json()
        assert (wrong["valid"], bool(wrong["problems"])) == (False, True)
        assert (await here.repository.counts()) == {"completed": 1}
        assert here.broker.published == []


async def test_dead_letters_are_shown_replayed_and_purged(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        body = b'{"token": "hush", "tasks": 1}'
        here.broker.dead = [DeadLetter(1, body, message_id="m-1"), DeadLetter(2, b"other", message_id="m-2")]
        page = (await client.get("/api/v1/dead")).json()
        assert (page["count"], len(page["messages"])) == (2, 2)
        digest = next(one["sha256"] for one in page["messages"] if one["message_id"] == "m-1")
        whole = (await client.get(f"/api/v1/dead/{digest}")).json()
        assert "hush" not in whole["body"]
        assert "hush" not in (await client.get("/dead")).text
        assert (await client.delete("/api/v1/dead", params={"expected": 1})).status_code == 409
        assert (await client.post(f"/api/v1/dead/{digest}/replay")).json()["replayed"] == 1
        assert (await client.delete("/api/v1/dead", params={"expected": 1})).json() == {"purged": 1}
        assert here.broker.dead == []
        assert (await client.get("/api/v1/dead/none")).status_code == 404
        screen = await client.get("/jobs/none")
        assert (screen.status_code, "<h1>Not found</h1>" in screen.text) == (404, True)


async def test_workers_are_steered_and_forgotten(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        await here.beat("render-1")
        assert (await client.post("/api/v1/workers/render-1/pause")).json() == {
            "wanted": "pause",
            "workers": ["render-1"],
        }
        assert (await client.get("/api/v1/workers/render-1")).json()["wanted"] == "pause"
        assert (await client.post("/api/v1/workers/resume")).json()["workers"] == ["render-1"]
        missing = await client.post("/api/v1/workers/render-2/pause")
        assert (missing.status_code, "did you mean 'render-1'" in missing.json()["detail"]) == (404, True)
        assert (await client.delete("/api/v1/workers/render-1")).status_code == 409
        await here.services.views.sample(60)
        await here.services.views.sample(60)
        assert len((await client.get("/api/v1/workers/render-1/samples")).json()) == 1
        queues = (await client.get("/api/v1/queues")).json()
        assert queues["messages"]["media.cpu.normal"] == 0


async def test_option_sets_are_stored_and_checked(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        address = "/api/v1/option-sets/ffmpeg/mine"
        assert (await client.put(address, json={"codec": "libx264", "crf": 20})).status_code == 200
        assert (await client.get(address)).json()["options"] == {"codec": "libx264", "crf": 20}
        assert (await client.put(address, json={"codec": "libx264", "passlogfile": "/etc/x"})).status_code == 422
        assert (await client.delete(address)).status_code == 204
        assert (await client.get(address)).status_code == 404
        page = await client.post(
            "/settings/option-sets", data={"module": "ffmpeg", "name": "b", "options": '{"crf": 20}'}
        )
        assert page.status_code == 303


async def test_a_stream_says_look_again_and_goes_on_from_what_was_seen(tmp_path):
    async with site(tmp_path) as here:
        await here.submit("a-job")
        watch = here.services.pulse.watch(frozenset(), beat=5)
        first = await anext(watch)
        assert not first.changed
        await here.run("b-job")
        second = await anext(watch)
        assert second.changed
        assert second.version != first.version
        await watch.aclose()
        late = here.services.pulse.watch(frozenset(), first.version, beat=5)
        assert (await anext(late)).changed
        await late.aclose()
        same = here.services.pulse.watch(frozenset(), second.version, beat=0.05)
        assert not (await anext(same)).changed
        await same.aclose()
        one = here.services.pulse.watch(frozenset({"a-job"}), beat=5)
        # A look that began before this watcher says nothing of its job.
        while not (begun := await anext(one)).version:
            pass
        await here.run("c-job")
        assert (await anext(one)) == begun
        await one.aclose()
        assert here.services.pulse.watchers == 0


async def test_a_database_that_goes_away_is_reported_to_who_watches_and_comes_back(tmp_path):

    answers = [Changes(fleet="a"), DatabaseUnavailable("the database does not answer"), Changes(fleet="a")]

    async def look(_):
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    pulse = Pulse(look, 0.01)
    watch = pulse.watch(frozenset(), beat=5)
    signals = [await anext(watch) for _ in range(3)]
    assert [(signal.version, signal.problem) for signal in signals] == [
        ("a", ""), ("a", "the database does not answer"), ("a", ""),
    ]  # fmt: skip
    assert signals[2].changed
    await pulse.close()
    assert [signal async for signal in watch] == []


async def test_a_log_is_followed_to_its_end(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        attempt = await here.run("a-job")
        await here.repository.store_log(attempt, zlib.compress(b"[0.0 s] $ ffmpeg -i a\nline one\n"))
        text = await client.get("/api/v1/jobs/a-job/log", headers={"Accept": "text/plain"})
        assert text.text == "[0.0 s] $ ffmpeg -i a\nline one\n"
        assert (await client.get("/api/v1/jobs/a-job/log")).json()["number"] == 1
        await here.repository.confirm_cancel(attempt)
        stream = (await client.get("/api/v1/jobs/a-job/log/stream")).text
        events = [line.removeprefix("event: ") for line in stream.splitlines() if line.startswith("event: ")]
        assert events == ["attempt", "text", "end"]


async def test_the_openapi_document_names_every_answer(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        document = (await client.get("/api/v1/openapi.json")).json()
        assert document["openapi"].startswith("3.1")
        assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
        for path, item in document["paths"].items():
            for method, operation in item.items():
                assert operation["summary"], (path, method)
                assert "application/problem+json" in operation["responses"]["401"]["content"], (path, method)


async def test_prometheus_reads_what_the_server_does(tmp_path):
    async with site(tmp_path, tokens=True) as here:
        await here.submit("a-job")
        async with here.client() as client:
            assert (await client.get("/metrics")).status_code == 401
        async with here.client("viewer") as client:
            text = (await client.get("/metrics")).text
        assert 'leveret_server_answers_total{status="4xx"} 1' in text
        assert 'leveret_jobs{state="queued"} 1' in text
        assert 'leveret_queue_messages{queue="media.cpu.normal"} 0' in text
        assert "leveret_server_event_streams 0" in text
