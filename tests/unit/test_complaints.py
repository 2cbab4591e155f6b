"""What a failed tool means follows from its own words, never from those of its job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from worker.core.command import Command, Exit
from worker.core.errors import BadInput, DiskFull, InvalidJob, StorageUnavailable, ToolFailed, ToolOutOfMemory
from worker.media.failure import classify, damage
from worker.media.matroska.merge import matroska_failure, option_file_command

TEXTS = (
    "No space left on device",
    "Disk quota exceeded",
    "Cannot allocate memory",
    "Connection refused",
    "Unknown encoder",
    "moov atom not found",
    "File ended prematurely",
)


def failed(argv: tuple[str, ...], tail: str, **more: object) -> Exit:
    return Exit(Command(argv, **more), 1, None, 0.1, tail)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", TEXTS)
def test_a_name_in_a_complaint_does_not_change_the_class_of_the_error(text):
    path = f"/nas/{text}.mkv"
    for said in (path, Path(path).name, f"file:{path}", f"'{text}'"):
        exit_ = failed(("ffmpeg", "-i", f"file:{path}", "-f", "mp4", "file:/s/out.mp4"), f"{said}: it went wrong")
        assert type(classify(exit_, path)) is ToolFailed, said
        assert damage(exit_.complaint) is None


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("argument", ["{}", "title={}", "--aname=one,{}", "/odd\r{}/x", "a\x07 {}"])
def test_no_value_of_a_job_decides_either(text, argument):
    value = argument.format(text)
    said = value.replace("\r", "\n").replace("\x07", "")
    assert type(classify(failed(("ffmpeg", value), f"{said} cannot be used"))) is ToolFailed


@pytest.mark.parametrize("text", TEXTS)
def test_the_content_of_an_option_file_does_not_change_the_class_of_an_error(text):
    command = option_file_command("mkvmerge", Path("/s/o.json"), ("--title", text, f"/nas/{text}.mkv"))
    exit_ = Exit(command, 2, None, 0.1, "", f"#GUI#error The file '/nas/{text}.mkv' went wrong at '{text}'.")
    # the sentence alone decides, as it would with harmless names: it says nothing of this host, so it may not pass
    assert type(matroska_failure(exit_, "out.mkv")) is InvalidJob


@pytest.mark.parametrize("name", ["data", "device", "stream", "space", "input"])
@pytest.mark.parametrize(
    ("tail", "kind"),
    [
        ("{}: Invalid data found when processing input", BadInput),
        ("{}: No space left on device", DiskFull),
        ("{}: Input/output error", StorageUnavailable),
        ("{}: Output file does not contain any stream", InvalidJob),
    ],
)
def test_a_name_that_is_a_plain_word_takes_nothing_from_what_the_tool_says(name, tail, kind):
    path = f"file:/nas/{name}.mkv"
    assert type(classify(failed(("ffmpeg", "-i", path), tail.format(path)))) is kind


@pytest.mark.parametrize(
    ("code", "signal", "tail"),
    [
        (None, 9, ""),
        (None, 6, "terminate called after throwing an instance of 'std::bad_alloc'"),
        (1, None, "x264 [error]: malloc of size 12345 failed\nError while opening encoder"),
        (1, None, "file:/nas/a.mkv: Cannot allocate memory"),
    ],
)
def test_a_tool_without_memory_is_known_by_its_end_or_its_words(code, signal, tail):
    exit_ = Exit(Command(("ffmpeg", "-i", "file:/nas/a.mkv")), code, signal, 1.0, tail)
    assert type(classify(exit_)) is ToolOutOfMemory
    assert type(classify(replace(exit_, signal=signal and 11, code=code and 1, tail="other"))) is ToolFailed
