"""The table of traced options covers what modules allow, and no tool touched the path that an option had as its value.

`python -m tests.traced` writes it anew, with strace and the real tools.
"""

from __future__ import annotations

from collections import Counter

from tests.traced.__main__ import TABLE, touches
from tests.traced.options import CANARY, PARAMETERS, static_names


def test_every_allowed_option_is_traced_and_none_opens_its_value():
    rows = [tuple(line.split("\t")) for line in TABLE.read_text().splitlines()]
    assert all(len(row) == 4 for row in rows)
    assert static_names() - {row[:3] for row in rows} == set(), "run `python -m tests.traced`"
    assert [row for row in rows if row[3] == "OPENED"] == []
    words = Counter(row[1] for row in rows if row[0] == "parameters")
    assert set(words) == {option for option, _ in PARAMETERS.values()}
    assert min(words.values()) > 100


def test_the_tracer_notices_a_call_that_names_the_path():
    assert touches(f'7 openat(AT_FDCWD, "/x/{CANARY}", O_RDONLY) = 3')
    assert touches(f'7 newfstatat(AT_FDCWD, "{CANARY}", 0x7f, 0) = -1 ENOENT')
    assert not touches(f'7 execve("/usr/bin/ffmpeg", ["ffmpeg", "-x", "/x/{CANARY}"], 0x7f) = 0')
