"""The file of sounds and texts that a part of a presentation is: the same bytes for the same files, or an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.core.errors import VerificationFailed
from worker.tasks.hls.parts import _bundle, _unbundle
from worker.tasks.hls.sound import Levels

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("a.mp4", "text_0.srt")
LEVELS = Levels({"loudness.a": {"source": -20.0}}, ("it is silent",))


def bundled(folder: Path, name: str) -> Path:
    made = folder / "made"
    made.mkdir(exist_ok=True)
    for number, file in enumerate(NAMES):
        (made / file).write_bytes(bytes([number]) * 70_000)
    _bundle(folder / name, made, NAMES, LEVELS)
    return folder / name


def test_a_bundle_unpacks_to_its_files_and_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    one, other = bundled(tmp_path, "one.tar"), bundled(tmp_path, "other.tar")
    assert one.read_bytes() == other.read_bytes()
    out = tmp_path / "out"
    out.mkdir()
    assert _unbundle(one, out, NAMES) == Levels(LEVELS.facts, list(LEVELS.warnings))
    assert [(out / name).read_bytes() for name in NAMES] == [bytes([n]) * 70_000 for n in range(2)]


@pytest.mark.parametrize("damage", ["missing", "cut", "no archive"])
def test_a_bundle_that_is_not_what_was_planned_is_refused(tmp_path: Path, damage: str) -> None:
    path = bundled(tmp_path, "one.tar")
    content = path.read_bytes()
    names = (*NAMES, "b.mp4") if damage == "missing" else NAMES
    path.write_bytes({"missing": content, "cut": content[:100_000], "no archive": b"film" * 500}[damage])
    with pytest.raises(VerificationFailed, match="the part of the sound is not what was planned"):
        _unbundle(path, tmp_path, names)
