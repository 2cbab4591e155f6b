"""The tree uses the words of the glossary, and none of those that the code was written in once."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OUT = re.compile(
    r"(?<![a-z])(told|wish|wishes|wished|patience|desk|theatre|disaster|giving hands)(?![a-z])", re.IGNORECASE
)
FOLDERS = ("worker", "visualizers", "infra", "benchmarks", "docs", "tests")


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_uses_a_word_that_is_out(folder: str) -> None:
    files = [file for ending in ("py", "md", "html", "js") for file in sorted((ROOT / folder).rglob(f"*.{ending}"))]
    own = [file for file in files if "vendor" not in file.parts and file != Path(__file__)]
    found = [
        f"{file.relative_to(ROOT)}:{number}: {match[0]}"
        for file in own
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if (match := OUT.search(line))
    ]
    assert found == []


QUESTION = re.compile(r'^\s*"""(What|That|Which|Whatever|How|Where|Who|Whose|Whether|When)\b')


@pytest.mark.parametrize("folder", ["worker", "visualizers", "infra"])
def test_a_docstring_names_its_thing_and_begins_with_no_question_word(folder: str) -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if QUESTION.match(line)
    ]
    assert found == []
