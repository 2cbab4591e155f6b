"""The how-to "Convert a library", typed line by line."""

from __future__ import annotations

import re
import shlex
from functools import partial
from pathlib import Path

import pytest

from tests.support.media import clip
from tests.support.web import Broker
from worker.app import control as assembling

PAGE = Path(__file__).parents[2] / "docs/how-to/convert-a-library.md"
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]


@pytest.fixture
def broker(monkeypatch) -> Broker:
    found = Broker()
    monkeypatch.setattr(assembling, "broker", partial(lambda broker, _: broker, found))
    return found


def test_every_command_of_the_page_does_what_it_says(cli, tmp_path, monkeypatch, broker):
    films = tmp_path / "library" / "films"
    (films / "more").mkdir(parents=True)
    clip(films / "a film.mkv", seconds=1)
    (films / "more" / "b.mp4").write_bytes(clip(tmp_path / "b.mp4", seconds=1.5).read_bytes())
    monkeypatch.setenv("WORKER_NAS_ROOT", str(films.parent))
    said = {}
    for line in COMMANDS:
        words = shlex.split(line, comments=True)
        target = words[words.index(">") + 1] if ">" in words else None
        assert words[0] == "leveret"
        answer = cli.type(*(words[1 : words.index(">")] if target else words[1:]))
        assert answer.code == 0, (line, answer)
        if target:
            cli.write(target, answer.out)
        said.setdefault(line.partition(" --")[0] if "--health" in line else line, answer.out)
    page = "\n".join(said.values())
    assert "h265-archive" in page
    assert '"crf": 20' in page
    assert "2 files, 2 of them films and sounds" in page
    assert "2 of 2 files match: at most 2 jobs to submit" in page
    assert "2 submitted, 0 skipped, 0 failed" in page
    assert "0 submitted, 2 skipped, 0 failed" in page
    assert "nightly is stored; it runs next at" in page
    assert "mine is stored as version 1" in page
    assert len(broker.published) == 2
