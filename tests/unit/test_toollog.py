"""What is kept of tools' words: bounds, secrets, and what is new to somebody who follows."""

from __future__ import annotations

import random
import zlib
from datetime import UTC, datetime

from worker.core.attempt import Attempt
from worker.core.command import Command, Exit, Pipeline
from worker.core.growing_text import news
from worker.core.message.dialects import decode
from worker.engine.attempt.tool_log import LINE_CHARACTERS, STORED_BYTES, Excerpt, ToolLog, packed


def test_the_first_and_the_last_lines_stay_and_the_gap_is_counted():
    excerpt = Excerpt(head=20, tail=20)
    for number in range(100):
        excerpt.add(f"line {number:04}")
    assert excerpt.text == "line 0000\nline 0001\n[96 lines left out]\nline 0098\nline 0099\n"


def test_nothing_is_left_out_of_a_text_that_fits():
    excerpt = Excerpt(head=20, tail=30)
    for number in range(5):
        excerpt.add(f"line {number:04}")
    assert excerpt.text == "".join(f"line {number:04}\n" for number in range(5))


def test_a_line_without_end_is_cut():
    excerpt = Excerpt()
    excerpt.add("x" * (LINE_CHARACTERS + 5))
    assert excerpt.text == "x" * LINE_CHARACTERS + "\n"


def test_text_that_cannot_be_compressed_is_cut_in_its_middle_until_it_fits():
    noise = random.Random(1).randbytes(500_000).hex()
    text = "beginning " + noise + " end"
    content = packed(text)
    assert len(content) <= STORED_BYTES
    kept = zlib.decompress(content).decode()
    assert kept.startswith("beginning ")
    assert kept.endswith(" end")
    assert "characters left out" in kept
    assert zlib.decompress(packed("short\ud800")).decode() == "short?"


def a_log() -> ToolLog:
    body = b'{"job_id": "j", "tasks": [{"module": "gource", "data": {"repo": "x", "token": "hunter2"}}]}'
    return ToolLog(None, Attempt(decode(body, None), 1, 1, 1, "w", 30.0, datetime.now(UTC)))


def test_a_log_holds_commands_lines_and_exits_without_secrets():
    log = a_log()
    command = Command(
        ("/usr/bin/ffmpeg", "-i", "https://user:pass@host/a b.mp4", "hunter2", "hunter3"), secrets=("hunter3",)
    )
    log.begin(Pipeline((command,)))
    log.line("ffmpeg", "opening https://host/x?token=abc with hunter3")
    log.end([Exit(command, 1, None, 2.0, "bad input", output="said on stdout hunter2")])
    assert log.text.splitlines() == [
        "[0.0 s] $ ffmpeg -i 'https://[hidden]@host/a b.mp4' [hidden] [hidden]",
        "opening https://host/x?token=[hidden] with [hidden]",
        "said on stdout [hidden]",
        "[0.0 s] ffmpeg exited 1 after 2 s: bad input",
    ]


def test_lines_of_several_programs_name_theirs():
    log = a_log()
    log.begin(Pipeline((Command(("gource",)), Command(("ffmpeg", "-")))))
    log.line("gource", "no display")
    assert log.text.splitlines() == ["[0.0 s] $ gource | ffmpeg -", "gource: no display"]


def test_following_a_log_gives_its_new_text_even_when_the_middle_is_gone():
    assert news("", "a\n") == "a\n"
    assert news("a\n", "a\nb\n") == "b\n"
    lines = [f"line {number}\n" for number in range(1000)]
    before = "".join(lines[:800])
    now = "".join(lines[:10]) + "[400 lines left out]\n" + "".join(lines[410:])
    assert news(before, now) == "".join(lines[800:])
    assert news("quite another text", "new\n") == "new\n"
