"""Five message shapes, one job; and any message at all gives a job or one InvalidJob."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.errors import InvalidJob
from worker.core.job import ID_PATTERN, Job
from worker.core.message.dialects import decode
from worker.core.message.wire import MAX_BODY_BYTES

DOCUMENTS = Path(__file__).parent / "documents"


def decoded(document: object, message_id: str | None = None) -> Job:
    return decode(json.dumps(document).encode(), message_id)


def problems(document: object) -> list[str]:
    with pytest.raises(InvalidJob) as caught:
        decoded(document)
    return [str(problem) for problem in caught.value.problems]


def document(name: str) -> Job:
    return decode((DOCUMENTS / f"{name}.json").read_bytes(), "from-the-message")


@pytest.mark.parametrize(
    ("name", "dialect", "modules", "job_id"),
    [
        ("canonical", "canonical", ["ffmpeg", "mkvmerge", "cleanup"], "from-the-message"),
        ("task-map", "task map", ["ffmpeg", "mkvmerge", "cleanup"], "from-the-message"),
        ("flat", "flat", ["ffmpeg", "cleanup"], "2b0f4c6e-flat"),
        ("gource", "gource", ["gource"], "2b0f4c6e-gource"),
        ("gource-render", "GOURCE", ["gource"], "2b0f4c6e-render"),
        ("transcode", "transcode", ["hls"], "2b0f4c6e-transcode"),
        ("transcode-assigned", "transcode", ["hls"], "2b0f4c6e-assigned"),
    ],
)
def test_each_dialect_becomes_a_job(name, dialect, modules, job_id):
    job = document(name)
    assert job.dialect == dialect
    assert [task.module for task in job.tasks] == modules
    assert job.job_id == job_id


def test_a_transcode_message_reads_and_writes_under_the_nas_root():
    (task,) = document("transcode").tasks
    assert task.data["source"] == "nas://movies/sample.mkv"
    assert task.data["renditions"][0]["dest_path"] == "nas://processed/sample/720p/"
    assert task.data["master_playlist_name"] == "index.m3u8"
    assert task.data["hw_fallback"] is True
    assert document("transcode").facts == {"movie_id": "movie-1"}


def test_a_gource_message_keeps_its_options_as_they_are_spelled():
    (task,) = document("gource").tasks
    assert task.data["repo_url"] == "https://example.org/project.git"
    assert task.data["--seconds-per-day"] == 1


def test_a_token_is_a_secret_and_never_in_the_document():
    job = document("gource-render")
    assert job.secrets == ("hidden-text",)
    assert "hidden-text" not in json.dumps(job.document())


def test_the_envelope_is_read():
    job = decoded(
        {
            "job_name": "A name",
            "priority": "high",
            "lane": "cpu",
            "timeout": 60,
            "callback_url": "https://example.org/done",
            "destination": "s3://media/x/",
            "tasks": [{"module": "probe"}],
        },
        "m1",
    )
    assert (job.title, job.priority, job.lane, job.timeout) == ("A name", "high", "cpu", 60)
    assert job.callback_url == "https://example.org/done"
    assert job.tasks[0].data == {}


def test_the_id_in_the_body_wins_over_the_message_id():
    assert decoded({"job_id": "mine", "tasks": [{"module": "x"}]}, "theirs").job_id == "mine"


def test_a_message_without_any_id_has_an_empty_one():
    assert decoded({"tasks": [{"module": "x"}]}).job_id == ""


@pytest.mark.parametrize("bad", ["", ".hidden", "a/b", "a b", "ä", "x" * 129, "a\n", "../x"])
def test_an_id_that_could_be_a_path_or_a_flag_is_refused(bad):
    assert any(text.startswith("job_id") for text in problems({"job_id": bad, "tasks": [{"module": "x"}]}))


@pytest.mark.parametrize("bad", [".hidden", "a/b", "x" * 129, "a\n"])
def test_a_message_id_is_held_to_the_same_pattern(bad):
    with pytest.raises(InvalidJob, match="job_id"):
        decoded({"tasks": [{"module": "x"}]}, bad)


def test_every_problem_is_reported_at_once_with_its_path():
    found = problems({"job_titel": "x", "priority": "urgent", "tasks": [{"modul": 1, "module": "x"}, {"module": ""}]})
    assert any(text.startswith("job_titel: unknown field; did you mean 'job_title'?") for text in found)
    assert any(text.startswith("priority: ") for text in found)
    assert any(text.startswith("tasks[0].modul: unknown field; did you mean 'module'?") for text in found)
    assert any(text.startswith("tasks[1].module: ") for text in found)


def test_a_mistyped_field_of_a_flat_message_names_the_nearest():
    assert problems({"job_titel": "x", "ffmpeg": {}}) == ["job_titel: unknown field; did you mean 'job_title'?"]


def test_a_task_of_a_task_map_has_one_module():
    found = problems({"tasks": [{"ffmpeg": {}, "cleanup": {}}]})
    assert found == ["tasks[0]: has 2 keys; a task has one, its module's name"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b"NaN", "NaN is no number"),
        (b'{"a": 1e999, "tasks": []}', "too large a number"),
        (b'{"tasks": [' + b"9" * 5000 + b"]}", "Exceeds the limit"),
        (b'{"a": 1, "a": 2}', "is twice"),
        (b'{"a": {"b": 1, "b": 2}}', "is twice"),
        (b"[" * 10_000, "nested deeper"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested deeper"),
        (b'{"job_title": "a\\u0000b"}', "NUL"),
        (b'{"job_title": "\\ud800"}', "surrogate"),
        (b'{"\\ud800": 1}', "surrogate"),
        (b"[]", "not a list"),
        (b'"x"', "not a str"),
        (b"null", "not null"),
        (b"{}", "tasks: is missing"),
        (b" " * (MAX_BODY_BYTES + 1), "bytes; at most"),
    ],
)
def test_a_body_that_is_no_job_is_reported_in_one_line(body, word):
    with pytest.raises(InvalidJob, match=re.escape(word)) as caught:
        decode(body)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "body", [b'"' + b'\\"' * 524_000, b'\\"' * 524_000, b'"' * 1_000_001, b'{"' + b"\\" * 1_000_001]
)
def test_a_megabyte_of_quotes_is_refused_at_once(body):
    started = time.process_time()
    with pytest.raises(InvalidJob):
        decode(body)
    assert time.process_time() - started < 5


def test_brackets_inside_strings_are_no_depth():
    assert decoded({"job_title": "[" * 100, "tasks": [{"module": "x"}]}).title == "[" * 100


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)
KEYS = st.sampled_from(
    [
        "job_id",
        "job_title",
        "tasks",
        "type",
        "renderType",
        "repoURL",
        "videoId",
        "gource",
        "renderOptions",
        "input",
        "outputs",
        "hls_settings",
        "assigned_job",
        "ack",
        "priority",
        "lane",
        "timeout",
        "ffmpeg",
        "token",
        "data",
    ]
)
MESSAGES = st.dictionaries(
    KEYS,
    JSON
    | st.just("gource")
    | st.just("GOURCE")
    | st.lists(st.fixed_dictionaries({"module": st.text(max_size=5), "data": JSON}), max_size=3)
    | st.dictionaries(KEYS, JSON, max_size=4),
    max_size=8,
)


def a_job_or_one_refusal(body: bytes) -> None:
    job, refusal = None, None
    try:
        job = decode(body, "given")
    except InvalidJob as error:
        refusal = error
    if job is None:
        assert refusal.problems
    else:
        assert re.fullmatch(ID_PATTERN, job.job_id)
        assert job.tasks
        json.dumps(job.document(), allow_nan=False).encode()


@given(MESSAGES | JSON)
def test_any_json_gives_a_job_or_one_refusal(value):
    a_job_or_one_refusal(json.dumps(value).encode())


@given(st.binary(max_size=200))
def test_any_bytes_give_a_job_or_one_refusal(body):
    a_job_or_one_refusal(body)


@given(st.sampled_from(sorted(DOCUMENTS.glob("*.json"))), st.data())
def test_any_mutation_of_a_real_message_gives_a_job_or_one_refusal(path, data):
    body = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(body) - 1))
        body[position] = data.draw(st.integers(0, 255))
    a_job_or_one_refusal(bytes(body))


def test_a_message_of_many_unknown_fields_is_refused_soon_with_the_first_hundred():
    task = {"module": "ffmpeg", "data": {}}
    body = json.dumps({"tasks": [task]} | {f"job_titl{number}": 1 for number in range(20_000)}).encode()
    started = time.monotonic()
    with pytest.raises(InvalidJob) as caught:
        decode(body)
    assert time.monotonic() - started < 3
    assert len(caught.value.problems) == 100
    assert sum("did you mean" in problem.message for problem in caught.value.problems) == 20


def test_a_flat_message_of_many_unknown_fields_is_refused_soon():
    body = json.dumps({f"job_titl{number}": 1 for number in range(20_000)}).encode()
    started = time.monotonic()
    with pytest.raises(InvalidJob):
        decode(body)
    assert time.monotonic() - started < 3


def test_a_text_that_no_database_stores_is_reported_with_its_place_and_at_most_a_hundred_times():
    with pytest.raises(InvalidJob) as caught:
        decode(
            b'{"tasks": [{"module": "ffmpeg", "data": {"a": [1, "\\u0000"], "b": 1e999, "c": ['
            + b"1e999," * 200
            + b"1]}}]}"
        )
    assert [problem.path for problem in caught.value.problems[:2]] == ["tasks[0].data.a[1]", "tasks[0].data.b"]
    assert len(caught.value.problems) == 100
