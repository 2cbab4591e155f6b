"""The data of mkvmerge and mkvextract tasks, and what their tools say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.command import Command, Exit
from worker.core.errors import BadInput, DiskFull, InvalidJob, ToolFailed
from worker.core.job import TaskSpec
from worker.media.matroska.merge import broken_structure, matroska_failure, parse_identified, progress_of, warnings_of
from worker.media.matroska.size import declared_bytes
from worker.registry import Registry
from worker.tasks.mkvextract import MkvextractTask
from worker.tasks.mkvmerge import MkvmergeTask
from worker.testing import check_task

REGISTRY = Registry({"mkvmerge": MkvmergeTask(), "mkvextract": MkvextractTask()})


def problems(module: str, data: dict[str, Any], path: str = "tasks[1].mkvmerge") -> list[str]:
    with pytest.raises(InvalidJob) as caught:
        REGISTRY.parse(TaskSpec(module, data, path))
    return [str(problem) for problem in caught.value.problems]


def merge(**data: Any) -> dict[str, Any]:
    return {"sources": ["a.mkv"], "tracks": [{"source": 0, "track": 0}], "output_file": "b.mkv"} | data


def test_both_tasks_keep_the_rules_of_the_plug_in_api() -> None:
    check_task(MkvmergeTask(), merge())
    check_task(MkvextractTask(), {"source": "a.mkv", "tracks": [{"id": 0, "filename": "b"}]})


def test_an_index_beyond_the_sources_is_reported_at_its_place() -> None:
    found = problems("mkvmerge", merge(tracks=[{"source": 0, "track": 0}, {"source": 1, "track": 0}]))
    assert found == ["tasks[1].mkvmerge.tracks[1].source: is 1, but there is 1 source"]


def test_all_faults_are_reported_at_once() -> None:
    tracks = [
        {"source": 2, "track": 0},
        {"source": 0, "track": 1},
        {"source": 0, "track": 1},
    ]
    found = problems(
        "mkvmerge", merge(tracks=tracks, options={"attach-file": "/etc/passwd", "webm": "x", "title": None})
    )
    assert found == [
        "tasks[1].mkvmerge.options.attach-file: unknown option",
        "tasks[1].mkvmerge.options.webm: is a flag; write null",
        "tasks[1].mkvmerge.options.title: needs a value",
        "tasks[1].mkvmerge.tracks[0].source: is 2, but there is 1 source",
        "tasks[1].mkvmerge.tracks[2].track: is 1 of source 0 for the second time",
    ]


@pytest.mark.parametrize("name", ["tags", "timestamps", "output", "redirect-output", "split", "@file"])
def test_no_option_of_a_track_names_a_file(name: str) -> None:
    found = problems("mkvmerge", merge(tracks=[{"source": 0, "track": 0, "options": {name: "/etc/passwd"}}]))
    assert found[0].startswith(f"tasks[1].mkvmerge.tracks[0].options.{name}: unknown option")


def test_an_option_that_is_nearly_right_is_named() -> None:
    found = problems("mkvmerge", merge(tracks=[{"source": 0, "track": 0, "options": {"langauge": "en"}}]))
    assert found == ["tasks[1].mkvmerge.tracks[0].options.langauge: unknown option; did you mean 'language'?"]


def test_a_merge_of_nothing_is_refused() -> None:
    assert problems("mkvmerge", merge(tracks=[])) == [
        "tasks[1].mkvmerge.tracks: names no track, and no source copies all of a kind"
    ]


def test_two_parts_may_not_go_into_one_file() -> None:
    tracks = [{"id": 0, "filename": "b"}, {"id": 1, "filename": "b"}]
    assert "same file" in problems("mkvextract", {"source": "a.mkv", "tracks": tracks})[0]


def ended(output: str, code: int = 2) -> Exit:
    return Exit(Command(("mkvmerge",)), code, None, 1.0, "", output)


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        ("#GUI#error 'xx' is not a valid IETF BCP 47 language tag", InvalidJob),
        ("#GUI#error The file 'a' could not be opened for writing: No space left on device.", DiskFull),
        ("Error: The source file 'a' could not be opened successfully, or retrieving its size failed.", ToolFailed),
        ("", ToolFailed),
    ],
)
def test_a_message_of_mkvmerge_becomes_an_error_of_its_kind(output: str, kind: type[Exception]) -> None:
    assert type(matroska_failure(ended(output), "b.mkv")) is kind


def test_progress_and_warnings_are_read() -> None:
    assert progress_of("#GUI#progress 71%") == 0.71
    assert progress_of("Progress: 71%") is None
    assert warnings_of("#GUI#warning one\nWarning: two\nError: three\n") == ["one", "two"]


def test_a_file_that_names_other_files_is_refused() -> None:
    answer = '{"container": {"recognized": true, "supported": true, "type": "x", "properties": {"playlist": true}}}'
    with pytest.raises(BadInput, match="playlist"):
        parse_identified(answer, "a.mpls")
    with pytest.raises(BadInput):
        parse_identified('{"container": {"recognized": false, "supported": false}}', "a")
    with pytest.raises(ToolFailed):
        parse_identified("", "a")


def test_an_option_without_its_value_is_refused_for_it_would_take_the_next_argument() -> None:
    sources = [{"filename": "a.mkv", "options": {"chapter-charset": True}}]
    found = problems("mkvmerge", merge(sources=sources))
    assert found == ["tasks[1].mkvmerge.sources[0].options.chapter-charset: needs a value"]
    options = {"title": True, "cluster-length": "/elsewhere/secret.mkv"}
    assert problems("mkvmerge", merge(options=options)) == ["tasks[1].mkvmerge.options.title: needs a value"]


EBML = bytes.fromhex("1a45dfa3 83 428681")


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (EBML + bytes.fromhex("18538067 85"), 8 + 5 + 5),
        (EBML + bytes.fromhex("18538067 4123"), 8 + 6 + 0x123),
        (EBML + bytes.fromhex("18538067 0100000000020000"), 8 + 12 + 0x20000),
        (EBML + bytes.fromhex("18538067 01ffffffffffffff"), None),
        (EBML + bytes.fromhex("18538067 ff"), None),
        (EBML + bytes.fromhex("ec 80"), None),
        (EBML + bytes.fromhex("185380"), None),
        (b"", None),
        (b"\x00\x00\x00\x18ftypmp42", None),
    ],
)
def test_a_segment_says_where_it_ends(head: bytes, said: int | None) -> None:
    assert declared_bytes(head) == said


@given(st.binary(max_size=64))
def test_no_bytes_break_the_reading_of_a_length(head: bytes) -> None:
    for begin in (b"", EBML, EBML + bytes.fromhex("18538067")):
        assert (declared_bytes(begin + head) or 0) >= 0


def test_a_warning_of_a_broken_structure_is_recognised() -> None:
    harmless = "The text subtitle track contains invalid 8-bit characters"
    broken = "film.mkv: Error in the Matroska file structure at position 133057. Resyncing to the next level 1 element."
    assert broken_structure([harmless]) is None
    assert broken_structure([harmless, broken]) == broken


@pytest.mark.parametrize("name", ["corrupt-tapes/film.mkv", "it's damaged.mkv", "Resync failed: no valid Matroska.mkv"])
def test_a_harmless_warning_about_a_file_whose_name_reports_damage_is_harmless(name: str) -> None:
    assert broken_structure([f"'/srv/nas/{name}' track 1: The AAC track has no language."]) is None
    assert broken_structure([f"'/srv/nas/{name}': A track with the ID 5 was requested but not found."]) is None
    line = f"'/srv/nas/{name}': File contains fewer frames than expected or is corrupt after frame 7."
    assert broken_structure([line]) == line


@pytest.mark.parametrize(
    "sentence",
    [
        "Resync failed: no valid Matroska level 1 element found.",
        "This usually indicates a damaged file structure.",
        "Could not find the next Ogg page. This indicates a damaged Ogg/Ogm file. Will try to continue.",
        "Error parsing a MPEG PS packet during the header reading phase. This stream seems to be badly damaged.",
    ],
)
def test_the_sentences_of_mkvmerge_that_report_damage_are_known(sentence: str) -> None:
    assert broken_structure([sentence]) == sentence


@pytest.mark.parametrize(
    ("track", "message"),
    [
        ({}, "tracks[0].track: is missing; give a number, or a track_type, language, disposition or codec"),
        ({"track": 0, "language": "eng"}, "tracks[0].track: is a number beside what the track is like; give one"),
        ({"track": 0, "every": True}, "tracks[0].track: is a number beside what the track is like; give one"),
        ({"disposition": "forcd"}, "tracks[0].disposition: 'forcd' is no disposition; did you mean 'forced'?"),
    ],
)
def test_a_track_is_a_number_or_what_it_is_like(track: dict[str, Any], message: str) -> None:
    (found,) = problems("mkvmerge", merge(tracks=[track]))
    assert message in found
