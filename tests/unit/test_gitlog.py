"""Git's log as gource's log: nothing that a stranger wrote reaches gource as anything but a name."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visualizers.gitlog import (
    EARLIEST,
    LATEST,
    Action,
    Change,
    Commit,
    MalformedLog,
    custom_log,
    cut_dates,
    cut_positions,
    log_command,
    parse_date,
    read_log,
)
from visualizers.gource import chosen
from visualizers.gource_params import GourceParams
from worker.core.errors import BadInput

ZERO = "0" * 40
BLOB = "ab" * 20


def meta(letter: str) -> bytes:
    return f":100644 100644 {ZERO} {BLOB} {letter}".encode()


def entry(time: int, author: str | bytes, *changes: tuple[str, str | bytes]) -> bytes:
    name = author.encode() if isinstance(author, str) else author
    head = str(time).encode() + b" " + name + b"\0"
    if not changes:
        return head
    body = b"".join(
        meta(letter) + b"\0" + (path.encode() if isinstance(path, str) else path) + b"\0" for letter, path in changes
    )
    return head + b"\n" + body


def commits(count: int) -> tuple[Commit, ...]:
    return tuple(Commit(1000 + n, "a", (Change(Action.ADDED, f"f{n}"),)) for n in range(count))


def test_every_kind_of_change_has_its_letter() -> None:
    raw = entry(5, "Ada", ("A", "new"), ("M", "old"), ("T", "link"), ("D", "gone"))
    assert custom_log(read_log(BytesIO(raw))) == "5|Ada|A|new\n5|Ada|M|old\n5|Ada|M|link\n5|Ada|D|gone\n"


def test_a_rename_is_a_deletion_and_an_addition() -> None:
    raw = b"5 Ada\0\n" + meta("R100") + b"\0from\0to\0" + meta("C75") + b"\0source\0copy\0"
    assert custom_log(read_log(BytesIO(raw))) == "5|Ada|D|from\n5|Ada|A|to\n5|Ada|A|copy\n"


def test_merges_and_empty_commits_leave_no_line() -> None:
    raw = entry(1, "Ada", ("A", "x")) + entry(2, "Ada") + entry(3, "Bob") + entry(4, "Bob", ("M", "x"))
    assert [commit.time for commit in read_log(BytesIO(raw))] == [1, 4]


def test_commits_out_of_order_are_sorted_and_equal_times_keep_their_order() -> None:
    raw = b"".join(entry(t, n, ("M", n)) for t, n in [(9, "a"), (3, "b"), (9, "c"), (3, "d")])
    assert [commit.author for commit in read_log(BytesIO(raw))] == ["b", "d", "a", "c"]


def test_a_submodule_is_a_file() -> None:
    raw = b"7 Ada\0\n" + f":000000 160000 {ZERO} {BLOB} A".encode() + b"\0vendor/lib\0"
    assert custom_log(read_log(BytesIO(raw))) == "7|Ada|A|vendor/lib\n"


def test_a_path_cannot_pose_as_a_commit_or_as_another_change() -> None:
    raw = entry(7, "Ada", ("A", "99 Mallory"), ("A", ":100644 x"), ("A", "--save-config=x"))
    assert custom_log(read_log(BytesIO(raw))) == "7|Ada|A|99 Mallory\n7|Ada|A|:100644 x\n7|Ada|A|--save-config=x\n"


def test_bars_newlines_and_control_characters_are_stripped_from_names() -> None:
    raw = entry(7, "A|d\x1b[31ma\x7f", ("A", "we|ird\n8|Eve|D|x\r\t\u2028\u202e.py"))
    assert custom_log(read_log(BytesIO(raw))) == "7|Ad[31ma|A|weird8EveDx.py\n"


def test_a_path_never_ends_in_a_slash_which_gource_takes_for_a_folder_to_delete() -> None:
    raw = entry(7, "Ada", ("D", "src/\n"), ("D", "|"))
    assert custom_log(read_log(BytesIO(raw))) == "7|Ada|D|src/unnamed\n7|Ada|D|unnamed\n"


def test_names_beyond_ascii_stay_and_bytes_that_are_no_text_become_marks() -> None:
    raw = entry(7, "Łukasz 王芳", ("A", "café/ё.py"), ("A", b"lat\xe9n.txt"))
    assert custom_log(read_log(BytesIO(raw))) == "7|Łukasz 王芳|A|café/ё.py\n7|Łukasz 王芳|A|lat\ufffdn.txt\n"


def test_an_author_without_a_name_is_unknown() -> None:
    assert custom_log(read_log(BytesIO(entry(7, "", ("A", "x"))))) == "7|Unknown|A|x\n"


@pytest.mark.parametrize(("time", "kept"), [(-5, EARLIEST), (0, EARLIEST), (LATEST, LATEST), (2**62, EARLIEST)])
def test_times_that_gources_calendar_cannot_hold_are_replaced(time: int, kept: int) -> None:
    assert read_log(BytesIO(entry(time, "Ada", ("A", "x"))))[0].time == kept


@pytest.mark.parametrize(
    "raw",
    [
        b"fatal: not a git repository",
        meta("A") + b"\0x\0",
        b"7 Ada\0\n" + meta("A"),
        b"7 Ada\0\n" + meta("A") + b"\0",
        b"7 Ada\0\n" + meta("R100") + b"\0only one\0",
        b"7 Ada\0\n:100644 A\0x\0",
    ],
)
def test_text_that_is_not_git_s_log_is_one_classified_error(raw: bytes) -> None:
    with pytest.raises(MalformedLog, match="git's log"):
        read_log(BytesIO(raw))


def test_no_log_is_no_commit() -> None:
    assert custom_log(read_log(BytesIO(b""))) == ""


@given(st.binary(max_size=300))
def test_any_bytes_are_a_log_or_a_classified_error(raw: bytes) -> None:
    try:
        lines = custom_log(read_log(BytesIO(raw))).splitlines()
    except MalformedLog:
        return
    assert all(line.count("|") == 3 for line in lines)


NAMES = st.one_of(st.binary(max_size=30), st.text(max_size=30).map(str.encode)).map(
    lambda name: name.replace(b"\0", b"")
)
AUTHORS = NAMES.map(lambda name: name.replace(b"\n", b""))
CHANGES = st.tuples(st.sampled_from("AMDTX"), NAMES.filter(bool))
ENTRIES = st.lists(st.tuples(st.integers(-(10**18), 10**18), AUTHORS, st.lists(CHANGES, max_size=4)), max_size=8)


@given(ENTRIES)
def test_every_change_of_every_log_is_one_clean_line_of_four_fields(
    entries: list[tuple[int, bytes, list[tuple[str, bytes]]]],
) -> None:
    raw = b"".join(entry(time, author, *changes) for time, author, changes in entries)
    text = custom_log(read_log(BytesIO(raw)))
    lines = text.split("\n")
    assert lines.pop() == ""
    assert len(lines) == sum(len(changes) for _, _, changes in entries)
    times = []
    for line in lines:
        time, author, action, path = line.split("|")
        times.append(int(time))
        assert author
        assert action in {"A", "M", "D"}
        assert path
        assert not path.endswith("/")
        assert not any(unicodedata.category(c) in {"Cc", "Zl", "Zp", "Cs"} for c in line)
    assert times == sorted(times)


def test_a_range_of_dates_includes_both_ends() -> None:
    start, stop = datetime.fromtimestamp(1002, UTC), datetime.fromtimestamp(1004, UTC)
    assert [c.time for c in cut_dates(commits(8), start, stop)] == [1002, 1003, 1004]
    assert cut_dates(commits(3)) == commits(3)
    assert cut_dates(commits(8), stop, start) == ()


@pytest.mark.parametrize(
    ("start", "stop", "kept"),
    [(0.0, 1.0, range(10)), (0.5, 1.0, range(5, 10)), (0.25, 0.5, range(2, 5)), (0.99, 1.0, [9]), (0.0, 0.01, [0])],
)
def test_positions_are_fractions_of_the_list_of_commits(start: float, stop: float, kept: list[int]) -> None:
    assert [c.time - 1000 for c in cut_positions(commits(10), start, stop)] == list(kept)


@given(st.integers(1, 50), st.floats(0, 1), st.floats(0, 1))
def test_a_range_of_positions_is_never_empty(count: int, one: float, other: float) -> None:
    if one != other:
        assert cut_positions(commits(count), min(one, other), max(one, other))


@pytest.mark.parametrize(("start", "stop"), [(0.5, 0.5), (0.6, 0.5), (-0.1, 1.0), (0.0, 1.1), (float("nan"), 1.0)])
def test_positions_outside_their_bounds_are_refused(start: float, stop: float) -> None:
    with pytest.raises(ValueError, match="positions"):
        cut_positions(commits(3), start, stop)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2024-05-06", datetime(2024, 5, 6, tzinfo=UTC)),
        ("2024-05-06 07:08:09", datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)),
        ("'2024-05-06 07:08:09 +0", datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)),
        ("2024-05-06 07:08:09 -5:30", datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone(-timedelta(hours=5, minutes=30)))),
        ("2024-05-06 07:08:09 +02", datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone(timedelta(hours=2)))),
        ("'2024-05-06 07:08:09 -0530", datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone(-timedelta(hours=5, minutes=30)))),
        ("'2024-05-06 07:08 +05:45'", datetime(2024, 5, 6, 7, 8, tzinfo=timezone(timedelta(hours=5, minutes=45)))),
        ('"2024-05-06 07:08:09 Z"', datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)),
    ],
)
def test_dates_are_read_with_their_zone_and_without_their_quotes(text: str, date: datetime) -> None:
    assert parse_date(text) == date


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2024-13-01", "2024-02-30", "2024-05-06 25:00:00", "2024-05-06 +99", "$(id)"]
)
def test_a_text_that_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="date"):
        parse_date(text)


def test_the_command_reads_a_mailmap_only_where_it_was_asked_to() -> None:
    command = log_command("/srv/repo.git")
    assert command[0] == "--git-dir=/srv/repo.git"
    assert "log.mailmap=false" in command
    assert not any("%aN" in part for part in command)
    assert command[-1] == "--"
    mapped = log_command("/srv/repo.git", mailmap=True)
    assert "log.mailmap=true" in mapped
    assert any("%aN" in part for part in mapped)


@pytest.mark.parametrize(
    ("dates", "times"),
    [
        (["", "7", ""], [7, 7, 7]),
        (["5", "99999999999999999999999", "9"], [5, 5, 9]),
        (["5", "253402300800"], [5, 5]),
        (["", ""], [EARLIEST, EARLIEST]),
    ],
)
def test_a_commit_without_a_date_that_git_prints_has_that_of_its_neighbour(dates: list[str], times: list[int]) -> None:
    meta = b"\n:100644 100644 " + b"0" * 40 + b" " + b"0" * 40 + b" M\0a\0"
    raw = b"".join(f"{date} Ada\0".encode() + meta for date in dates)
    assert [commit.time for commit in read_log(BytesIO(raw))] == times


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2024-05-06", 86_399), ("'2024-05-06'", 86_399), ("2024-05-06 +02:00", 79_199), ("2024-05-06 10:00", 36_000)],
)
def test_a_stop_date_without_a_time_is_the_end_of_its_day(text: str, seconds: int) -> None:
    day = datetime(2024, 5, 6, tzinfo=UTC).timestamp()
    assert (
        GourceParams.model_validate({"repo_url": "https://x", "stop_date": text}).stop_date.timestamp() == day + seconds
    )


def test_a_range_without_commits_names_the_historys() -> None:
    commits = read_log(BytesIO(entry(1_700_000_000, "Ada", ("A", "x"))))
    params = GourceParams.model_validate({"repo_url": "https://x", "start_date": "2024-01-01"})
    with pytest.raises(BadInput, match=r"the history is of 2023-11-14 to 2023-11-14"):
        chosen(params, commits)
