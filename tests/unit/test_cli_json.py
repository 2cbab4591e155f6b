"""What `--json` prints steers no terminal, and reads back as what it was."""

from __future__ import annotations

import json

import pytest

from worker.cli.render import say_json


@pytest.mark.parametrize("letter", ["\x1b", "\x7f", "\x85", "\x9b", "\u061c", "\u200f", "\u2028", "\u202e", "\u2066"])
def test_a_letter_that_steers_a_terminal_is_escaped(capsys, letter):
    say_json({"title": f"a{letter}b"})
    printed = capsys.readouterr().out
    assert letter not in printed
    assert json.loads(printed) == {"title": f"a{letter}b"}


def test_letters_of_every_script_stay_as_they_are(capsys):
    say_json({"title": "映画 é 🎬"})
    assert "映画 é 🎬" in capsys.readouterr().out
