"""A file is one room: whoever opens it reads it whole."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MAX_LINES = 300


def test_no_file_is_longer_than_a_reader_keeps_in_mind():
    files = [file for folder in ("worker", "visualizers", "infra") for file in (REPOSITORY / folder).rglob("*.py")]
    lengths = {str(file.relative_to(REPOSITORY)): len(file.read_text().splitlines()) for file in files}
    assert len(lengths) > 300
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}
