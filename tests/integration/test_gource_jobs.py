"""From a published message to a film that players play to its end; what is hostile ends in one classified error."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from infra.demo.__main__ import mirror
from infra.demo.messages import film_message
from tests.support.git_server import ENCODED, TOKEN, served
from tests.support.players import browser
from tests.support.visualizers import frames_of, gource_harness, left_of, made_repository, message, published
from visualizers import fonts
from worker.core.attempt import Dead

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.engine import Broker, Harness
    from worker.core.attempt import Attempt, Progress

pytestmark = pytest.mark.xdist_group("rabbitmq")

SECONDS = 120


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_repository(tmp_path_factory.mktemp("history") / "origin", {"src/a.py": "1"}, {"b.py": "2"})


@pytest.fixture
async def harness(provisioned_broker: str, broker: Broker, history: Path, tmp_path: Path) -> AsyncIterator[Harness]:
    async with gource_harness(provisioned_broker, tmp_path, history.parent) as harness:
        yield harness


def render(history: Path, **options: Any) -> dict[str, Any]:
    """Return a message of the GOURCE dialect."""
    own = {"renderType": "GOURCE", "repoURL": f"file://{history}", "videoId": str(uuid.uuid4())}
    return own | {"renderOptions": options}


async def test_both_dialects_and_a_sound_become_films_that_hls_js_plays_to_their_end(
    harness: Harness, broker: Broker, history: Path
) -> None:
    subprocess.run(
        ("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=d=3.5", harness.storage / "tone.flac"), check=True
    )
    wave = {"source": "nas://tone.flac", "look": "bars", "resolution": "320x180"}
    sound = {"job_id": "wave", "tasks": [{"module": "waveform", "data": wave}]}
    first = message(history, **{"--title": "A project", "--start-date": "'2020-01-01 00:00:00 +0"})
    second = render(history, start=0.5, stop=1, key=True, bloomMultiplier=1.2, title="Another") | {"token": "hush-hush"}
    plays, lengths = [], []
    for sent in (first, second, sound):
        job_id = sent.get("videoId") or sent["job_id"]
        await broker.publish(sent, "cpu.normal" if sent is sound else "visualize.normal")
        await harness.until(job_id, "completed", "dead", seconds=SECONDS)
        record = await harness.repository.job(job_id)
        assert record.state == "completed", record.error
        assert record.manifest_url == f"/{job_id}/master.m3u8"
        assert record.thumbnail_url.endswith("/poster.jpg")
        assert "hush-hush" not in str(record)
        frames = frames_of(harness.storage / job_id / "master.m3u8")
        plays.append(("hls.js", f"{job_id}/master.m3u8"))
        lengths.append(frames / (30 if sent is not first else 25))
        if sent is not sound:
            assert frames == record.facts["gource"]["frames"]
    with browser() as chromium:
        playbacks = await asyncio.to_thread(chromium.played, harness.storage, plays, rate=4)
    assert [one["state"] for one in playbacks] == ["ended"] * 3, playbacks
    assert [one["duration"] for one in playbacks] == pytest.approx(lengths, abs=0.1)
    assert set(playbacks[0]["errors"] + playbacks[1]["errors"] + playbacks[2]["errors"]) <= {"bufferStalledError"}


def many_commits(folder: Path, count: int) -> Path:
    """Return a repository of so many commits, two hours apart, each of which changes a file."""
    folder.mkdir()
    lines = []
    for number in range(count):
        who = f"Author {number % 20} <a@example.org> {1_500_000_000 + 7200 * number} +0000"
        lines += ["commit refs/heads/main", f"committer {who}", "data 1", "m"]
        lines += [f"M 100644 inline src/{number % 17}/file{number % 331}.py", f"data {len(str(number))}", str(number)]
    run = ("git", "-C", str(folder))
    subprocess.run((*run, "init", "-q", "--bare", "-b", "main"), check=True)
    subprocess.run((*run, "fast-import", "--quiet"), input="\n".join([*lines, ""]).encode(), check=True)
    subprocess.run((*run, "config", "uploadpack.allowFilter", "true"), check=True)
    return folder


async def test_two_thousand_commits_become_a_film_of_every_counted_frame_and_progress_counts_them(
    provisioned_broker: str, broker: Broker, tmp_path: Path
) -> None:
    origin = many_commits(tmp_path / "origin", 2000)
    playbacks: list[Progress] = []

    async def noted(_attempt: Attempt, progress: Progress) -> None:
        playbacks.append(progress)

    options = {"resolution": "640x360", "--time-scale": 4, "length": 8, "output": "mp4"}
    sent = message(origin, **options)
    async with gource_harness(provisioned_broker, tmp_path, tmp_path, on_progress=noted) as harness:
        await broker.publish(sent, "visualize.normal")
        await harness.until(sent["videoId"], "completed", "dead", seconds=SECONDS)
        record = await harness.repository.job(sent["videoId"])
        assert record.state == "completed", record.error
        assert record.facts["gource"]["commits"] == 2000
        assert frames_of(harness.storage / sent["videoId"] / "video.mp4") == record.facts["gource"]["frames"] > 100
    percents = [one.percent for one in playbacks]
    assert percents == sorted(percents)
    assert any(3 < percent < 100 for percent in percents)
    assert [one for one in playbacks if one.eta_seconds and one.fps and one.task == "gource"]
    assert record.progress.percent == 100


HOSTILE: dict[str, dict[str, Any]] = {
    "ext": {"repoURL": "ext::sh -c touch% x"},
    "a file outside of the root": {"repoURL": "file:///etc"},
    "upload-pack": {"repoURL": "--upload-pack=touch x"},
    "a private address": {"repoURL": "https://127.0.0.1/x.git"},
    "a link-local address": {"repoURL": "https://[fe80::1]/x.git"},
    "credentials": {"repoURL": "https://user:hunter2@example.org/x.git"},
    "an option of gource": {"gource": {"--save-config": "x"}},
    "a command as a value": {"gource": {"--start-date": "$(touch x)"}},
    "an option as a value": {"gource": {"resolution": "--load-config=x"}},
    "another stream": {"gource": {"--output-ppm-stream": "x"}},
    "a title of 10 MB": {"gource": {"--title": "x" * 10_000_000}},
    "a long title": {"gource": {"--title": "x" * 100_000}},
    "an id that climbs": {"videoId": "../../x"},
    "a field that nobody knows": {"upload_pack": "x"},
    "an address that is none": {"repoURL": ["x"]},
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_message_is_dead_with_one_classified_error_and_nothing_is_published(
    harness: Harness, broker: Broker, history: Path, name: str
) -> None:
    sent = message(history) | HOSTILE[name]
    await broker.publish(sent, "visualize.normal", message_id="hostile")
    settlement = await harness.one(SECONDS)
    assert isinstance(settlement.outcome, Dead), settlement
    failure = settlement.outcome.failure
    assert failure.error_type in {"InvalidJob", "RefusedPath"}, failure
    assert "hunter2" not in failure.message
    assert len(failure.message) <= 1024
    assert published(harness) == []
    assert left_of(harness.folder) == []
    assert (await broker.dead()).message_id in {"hostile", sent["videoId"]}


async def test_an_empty_repository_is_dead_and_says_so(harness: Harness, broker: Broker, history: Path) -> None:
    sent = message(made_repository(history.parent / f"empty-{uuid.uuid4()}"))
    await broker.publish(sent, "visualize.normal")
    await harness.until(sent["videoId"], "completed", "dead")
    record = await harness.repository.job(sent["videoId"])
    assert (record.state, record.error_type) == ("dead", "BadInput")
    assert "is empty: it has no commit" in record.error


TITLES = ("--save-config=x", "-h", "été — Łódź ж \"quotes\" 'and' \\", "$(touch x) `y` ; | & %s")


async def test_any_title_is_one_argument_and_is_recorded_as_typed(
    harness: Harness, broker: Broker, history: Path
) -> None:
    sent = [message(history, **{"--title": title, "last_frame": 3, "output": "mp4"}) for title in TITLES]
    for one in sent:
        await broker.publish(one, "visualize.normal")
    for one, title in zip(sent, TITLES, strict=True):
        await harness.until(one["videoId"], "completed", "dead", seconds=SECONDS)
        record = await harness.repository.job(one["videoId"])
        assert (record.state, record.title) == ("completed", title), record.error
        assert frames_of(harness.storage / one["videoId"] / "video.mp4") == 3
    assert {path.name for path in published(harness)} == {"video.mp4", "poster.jpg"}


async def test_a_title_that_no_font_can_write_is_refused_by_name_before_anything_is_cloned(
    harness: Harness, broker: Broker, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "FOLDERS", (fonts.OWN.parent,))
    sent = message(history.parent / "nowhere", **{"--title": "A 王"})
    await broker.publish(sent, "visualize.normal")
    await harness.until(sent["videoId"], "completed", "dead", seconds=SECONDS)
    record = await harness.repository.job(sent["videoId"])
    assert (record.state, record.error_type) == ("dead", "BadInput")
    assert "王 (U+738B CJK UNIFIED IDEOGRAPH-738B)" in record.error


def written(folder: Path, pattern: str) -> list[str]:
    """Return what files hold."""
    return [path.read_text(errors="replace") for path in folder.glob(pattern) if path.is_file()]


async def test_a_token_opens_a_private_repository_and_is_written_nowhere(
    provisioned_broker: str, broker: Broker, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "https").mkdir()
    made_repository(tmp_path / "https" / "origin", {"a.py": "1"})
    ids = str(uuid.uuid4()), str(uuid.uuid4())
    texts: list[str] = []
    with served(tmp_path / "https") as (url, certificate):
        own = {"videoId": ids[0], "token": TOKEN, "repoURL": f"{url}/origin/.git", "renderType": "GOURCE"}
        gone = {"videoId": ids[1], "gource": {"token": TOKEN}, "repoURL": f"{url}/gone/.git", "type": "gource"}
        git_options = {"allow_private": True, "authority": certificate}
        async with gource_harness(provisioned_broker, tmp_path, tmp_path, git_options=git_options) as harness:
            for sent, state in ((own, "completed"), (gone, "dead")):
                await broker.publish(sent, "visualize.normal")
                await harness.until(sent["videoId"], "completed", "dead", seconds=SECONDS)
                record = await harness.repository.job(sent["videoId"])
                assert record.state == state, record.error
                texts += [str(record), str(await harness.repository.log(sent["videoId"]))]
    texts += [*capfd.readouterr(), *written(tmp_path, "jobs.db*"), *written(harness.storage, "**/*")]
    assert [id_ for id_ in ids if not any(id_ in text for text in texts)] == []
    assert [text for text in texts if TOKEN in text or ENCODED in text] == []


async def test_the_demos_film_of_a_checkout_completes(harness: Harness, broker: Broker, history: Path) -> None:
    assert mirror(history, history.parent / "demo.git")
    sent = film_message(history.parent / "demo.git")
    sent["gource"] = sent["gource"] | {"resolution": "-320x180"}
    await broker.publish(sent, "visualize.normal")
    await harness.until(sent["videoId"], "completed", "dead", seconds=SECONDS)
    record = await harness.repository.job(sent["videoId"])
    assert (record.state, record.title) == ("completed", "Leveret"), record.error
    assert record.facts["gource"]["commits"] == 2
    assert frames_of(harness.storage / sent["videoId"] / "master.m3u8") == record.facts["gource"]["frames"]
    assert not mirror(harness.storage, history.parent / "none.git")
