"""Every module on every kind of broken source, from the message to the record: classified, and nothing published."""

from __future__ import annotations

import json
import random
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.engine import Harness
from tests.support.media import NAMES, clip
from worker.adapters.host import bundled_tools, find_tools
from worker.app.components import registry
from worker.core.attempt import Dead

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.engine import Broker
    from worker.adapters.sql import SqlRepository

pytestmark = pytest.mark.xdist_group("rabbitmq")

VIDEO, SOUND = ({"source": 0, "specifier": kind, "stream": 0} for kind in "va")
FAST = {"specifier": "v", "options": {"codec": "libx264", "preset": "ultrafast"}}
COPIED = [{"specifier": kind, "options": {"codec": "copy"}} for kind in "va"]
DATA: dict[str, dict[str, Any]] = {
    "ffmpeg": {"sources": ["SOURCE"], "source_maps": [VIDEO, SOUND], "output_maps": [FAST], "output_file": "o.mkv"},
    "ffmpeg copies": {
        "sources": ["SOURCE"], "source_maps": [VIDEO, SOUND], "output_maps": COPIED, "output_file": "o.mkv"
    },
    "hls": {"source": "SOURCE", "renditions": [{"height": 90}]},
    "mkvmerge": {
        "sources": ["SOURCE"], "tracks": [{"track": 0}, {"track": 1}], "output_file": "o.mkv", "verify": "decode"
    },
    "mkvextract": {"source": "SOURCE", "tracks": [{"track_type": "audio", "filename": "a.aac"}]},
    "handbrake": {
        "source": "SOURCE", "output_file": "o.mkv", "video_options": {"encoder": "x264"}, "verify": "decode"
    },
    "probe": {"source": "SOURCE", "output_file": "facts.json", "verify": "decode"},
    "thumbnail": {"source": "SOURCE", "output_file": "still.jpg"},
    "waveform": {"source": "SOURCE", "resolution": "160x90", "framerate": 25},
}  # fmt: skip


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of files that are all called .mp4 and are none that could be played to its end."""
    folder, made = tmp_path_factory.mktemp("broken"), tmp_path_factory.mktemp("whole")
    chance = random.Random(7)  # noise, and the same in every run
    mkv = clip(made / "whole.mkv", extra=("-g", "12")).read_bytes()
    late = clip(made / "late.mp4").read_bytes()
    fast = clip(made / "fast.mp4", extra=("-g", "12", "-movflags", "+faststart")).read_bytes()

    def spoiled(whole: bytes) -> bytes:
        third = len(whole) // 3
        return whole[:third] + chance.randbytes(third) + whole[2 * third :]

    contents = {
        "empty": b"",
        "like-encrypted": chance.randbytes(200_000),
        "playlist": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\n{made}/whole.mkv\n#EXT-X-ENDLIST\n".encode(),
        "concat-list": f"ffconcat version 1.0\nfile {made}/whole.mkv\n".encode(),
        "mp4-without-its-index": late[: len(late) // 2],
        "cut-mp4": fast[: len(fast) // 2],
        "cut-matroska": mkv[: len(mkv) // 2],
        "spoiled-mp4": spoiled(fast),
        "spoiled-matroska": spoiled(mkv),
    }
    for name, content in contents.items():
        (folder / f"{name}.mp4").write_bytes(content)
    return folder


@pytest.fixture
async def harness(
    provisioned_broker: str, broker: Broker, repository: SqlRepository, tmp_path: Path
) -> AsyncIterator[Harness]:
    tools = find_tools(dict.fromkeys(NAMES), bundled_tools())
    harness = Harness(
        provisioned_broker, repository, tmp_path, more_tasks=tuple(registry().tasks.values()), tools=tools
    )
    yield harness
    await harness.close()


def placed(sources: Path, storage: Path) -> list[str]:
    """Return the names of all files in the storage once the sources are there."""
    shutil.copytree(sources, storage, dirs_exist_ok=True)
    return sorted(path.stem for path in storage.rglob("*"))


@pytest.mark.parametrize("case", DATA)
async def test_a_broken_source_is_dead_as_bad_input_and_publishes_nothing(
    case: str, harness: Harness, broker: Broker, sources: Path
) -> None:
    names = placed(sources, harness.storage)
    for name in names:
        data = json.loads(json.dumps(DATA[case]).replace("SOURCE", f"nas://{name}.mp4"))
        await broker.publish({"job_id": name, "tasks": [{"module": case.split(maxsplit=1)[0], "data": data}]})
    outcomes = {}
    for _ in names:
        settlement = await harness.one(60)
        outcomes[settlement.job_id] = settlement.outcome
    records = {name: await harness.repository.job(name) for name in names}
    found = {name: record.error_type if record else "no record" for name, record in records.items()}
    assert found == dict.fromkeys(names, "BadInput"), [record and record.error for record in records.values()]
    assert all(isinstance(outcome, Dead) for outcome in outcomes.values()), outcomes
    assert placed(sources, harness.storage) == names
