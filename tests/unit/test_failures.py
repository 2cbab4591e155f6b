"""Real last words of the tools, each with the line that a person needs and the class that is right.

A file of `failures/` was written by running the tool: its program, its exit code, class and line, then what it said.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from worker.adapters.git.errors import clone_error
from worker.core.command import Command, Exit
from worker.core.errors import Permanent, ToolFailed
from worker.media.failure import classify
from worker.media.handbrake.command import HandbrakeParams
from worker.media.matroska.merge import matroska_failure
from worker.tasks.handbrake import handbrake_failure

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = sorted((Path(__file__).parent / "failures").glob("*.txt"))
PASSING = {"ffmpeg-5.1-nvenc-none", "ffmpeg-5.1-vaapi-none", "ffmpeg-5.1-missing", "mkvmerge-missing"}


@dataclass(frozen=True)
class Failure:
    program: str
    code: int
    kind: str
    line: str
    words: str

    @classmethod
    def read(cls, path: Path) -> Failure:
        head, _, words = path.read_text(encoding="utf-8").partition("\n\n")
        fields = dict(line.split(": ", 1) for line in head.splitlines())
        return cls(fields["program"], int(fields["code"]), fields["class"], fields["line"], words)

    def error(self) -> Exception:
        output = self.words if self.program.startswith("mkv") else ""
        exit_ = Exit(
            Command((self.program, "film.mkv", "out.mkv")), self.code, None, 1.0, "" if output else self.words, output
        )
        meanings: dict[str, Callable[[Exit], Exception]] = {
            "mkvmerge": lambda exit_: matroska_failure(exit_, "film.mkv"),
            "mkvextract": lambda exit_: matroska_failure(exit_, "film.mkv"),
            "HandBrakeCLI": lambda exit_: handbrake_failure(
                exit_, HandbrakeParams(source="film.mkv", output_file="b.mkv")
            ),
            "git": lambda exit_: clone_error(exit_, "https://example.org/a.git", ()),
        }
        return meanings.get(self.program, classify)(exit_)


def test_the_corpus_holds_failures_of_every_tool():
    programs = {Failure.read(path).program for path in FILES}
    assert programs == {"ffmpeg", "mkvmerge", "mkvextract", "HandBrakeCLI", "gource", "git", "packager"}
    assert len(FILES) >= 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_failure_has_the_line_that_says_why_and_the_right_class(path: Path):
    failure = Failure.read(path)
    error = failure.error()
    assert type(error).__name__ == failure.kind, error
    assert failure.line in str(error)
    assert " @ 0x" not in str(error)
    # the line that says why comes first: nothing else of the tool stands before it
    rest = [line for line in failure.words.splitlines() if line.strip() and failure.line not in line]
    before = str(error).partition(failure.line)[0]
    assert not [line for line in rest if line.strip() in before]
    if isinstance(error, ToolFailed):
        assert error.passing is (path.stem in PASSING)
    else:
        assert isinstance(error, Permanent) or failure.kind in {"DiskFull", "RemoteUnavailable"}
