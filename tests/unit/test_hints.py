"""A message of nothing but unknown names costs a bounded search for what they could have meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import pytest

from worker.app.components import registry
from worker.core.errors import InvalidJob
from worker.core.hints import MAX_HINTS, bounded_hints, nearest
from worker.core.job import Job, TaskSpec
from worker.engine.attempt.plan import prepared
from worker.media.ffmpeg.filters import VIDEO_FILTERS, filter_problem
from worker.media.ffmpeg.options import input_problems

if TYPE_CHECKING:
    from collections.abc import Callable

UNKNOWN = {f"qualiti-{number}": 1 for number in range(60_000)}
MANY: list[dict[str, int]] = [{f"langage{task}-{number}": 1 for number in range(100)} for task in range(400)]

DATA: dict[str, tuple[str, dict[str, Any]]] = {
    "handbrake": ("handbrake", {"source": "nas://a.mkv", "output_file": "b.mkv", "video_options": UNKNOWN}),
    "mkvmerge": (
        "mkvmerge",
        {"sources": ["nas://a.mkv"], "output_file": "b.mkv", "tracks": [{"track": 0, "options": MANY[0]}]},
    ),
    "mkvmerge's tracks": (
        "mkvmerge",
        {
            "sources": ["nas://a.mkv"],
            "output_file": "b.mkv",
            "tracks": [{"track": index, "options": options} for index, options in enumerate(MANY)],
        },
    ),
    "unknown fields": ("hls", {"source": "nas://a.mkv", **UNKNOWN}),
}


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    search: Callable[..., list[str]] = difflib.get_close_matches

    def counted(word: str, *arguments: Any, **named: Any) -> list[str]:
        found.append(word)
        return search(word, *arguments, **named)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    return found


@pytest.mark.parametrize("name", DATA)
async def test_unknown_options_of_any_module_are_searched_a_bounded_number_of_times(name, searches):
    module, data = DATA[name]
    job = Job("j", "t", (TaskSpec(module, data, "tasks[0].data"),) * 3, "canonical")
    with pytest.raises(InvalidJob) as caught:
        await prepared(registry(), job, None)  # type: ignore[arg-type]  # nothing is looked up
    assert 0 < len(searches) <= MAX_HINTS
    assert any("did you mean" in problem.message for problem in caught.value.problems) or name == "unknown fields"


def test_unknown_options_of_ffmpeg_are_searched_a_bounded_number_of_times(searches):
    with bounded_hints():
        assert len(list(input_problems(UNKNOWN, "input_options"))) == len(UNKNOWN)
    assert 0 < len(searches) <= MAX_HINTS


def test_names_that_people_type_are_searched_without_a_bound(searches):
    for _ in range(MAX_HINTS + 1):
        assert nearest("qualty", ["quality"])
    with bounded_hints():
        assert [bool(nearest("qualty", ["quality"])) for _ in range(MAX_HINTS + 1)] == [True] * MAX_HINTS + [False]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"sources": ["a.mkv"], "output": "b.mkv"}, "output: unknown field; did you mean 'output_file'?"),
        ({"source": "a.mkv", "output_file": "b.mkv"}, "source: unknown field; did you mean 'sources'?"),
        ({"sources": ["a.mkv"], "output_file": "b.mkv", "output_mapz": []}, "did you mean 'output_map'"),
        ({"sources": ["a.mkv"], "output_file": "b"}, "has no suffix, no container that this module writes; give it"),
    ],
)
async def test_an_unknown_field_names_the_missing_field_first(data, words):
    job = Job("j", "t", (TaskSpec("ffmpeg", data, "tasks[0].data"),), "canonical")
    with pytest.raises(InvalidJob) as caught:
        await prepared(registry(), job, None)  # type: ignore[arg-type]  # nothing is looked up
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        ("subtitles=a.srt", "give the output map `burn`"),
        ("concat=n=2", "give the task `join`"),
        ("movie=a", "`sources`"),
    ],
)
def test_a_filter_that_people_ask_for_is_refused_with_what_to_use(chain, words):
    assert words in str(filter_problem(chain, VIDEO_FILTERS))
