"""The README is short, the index has every page, the glossary is in order, and figures have commands."""

import re
from pathlib import Path

import pytest

from benchmarks.__main__ import TABLES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
INDEX = (ROOT / "docs/README.md").read_text()
GLOSSARY = (ROOT / "docs/reference/glossary.md").read_text()
DECISIONS = ROOT / "docs/decisions/README.md"
MAX_LINES = 90


def test_the_readme_is_short():
    assert len(README.splitlines()) <= MAX_LINES


def test_the_readme_has_six_figures_and_the_command_of_each():
    rows = re.findall(r"^\| [^|]+ \| [^|]+ \| `([^`]+)` \|$", README, re.MULTILINE)
    assert len(rows) == 6
    for command in rows:
        name = command.removeprefix("python -m benchmarks ").split(" ")[0]
        assert name in TABLES or command.startswith("make chaos"), command


def test_every_table_of_the_benchmarks_has_its_place_in_the_page():
    page = (ROOT / "docs/explanation/performance.md").read_text()
    assert [name for name in TABLES if f"python -m benchmarks {name}" not in page] == []


@pytest.mark.parametrize("folder", ["tutorial", "how-to", "reference", "explanation"])
def test_every_page_is_in_the_index(folder):
    pages = [f"{folder}/{page.name}" for page in sorted((ROOT / "docs" / folder).glob("*.md"))]
    assert [page for page in pages if f"]({page})" not in INDEX] == []


def test_the_life_of_a_job_is_read_in_twelve_files():
    page = (ROOT / "docs/explanation/life-of-a-job.md").read_text()
    files = re.findall(r"^\| `(worker/[\w/]+\.py)` \|", page, re.MULTILINE)
    assert len(files) == 12
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_every_decision_is_in_its_list():
    pages = [page.name for page in sorted((ROOT / "docs/decisions").glob("0*.md"))]
    listed = DECISIONS.read_text()
    assert [page for page in pages if f"]({page})" not in listed] == []


def test_every_decision_has_a_status_and_a_date():
    status = r"\n\nStatus: (accepted|replaced by \[\d+\]\(0[\w-]+\.md\)), 20\d\d-\d\d-\d\d\.\n\n"
    pages = sorted((ROOT / "docs/decisions").glob("0*.md"))
    assert [page.name for page in pages if re.match(r"# \d+\. [^\n]+" + status, page.read_text()) is None] == []


def test_the_glossary_has_a_word_once_in_order_and_in_one_line():
    for section in GLOSSARY.split("\n## ")[1:]:
        words = re.findall(r"^\| (?!word |---)([^|]+?) \| [A-Z][^|]+ \|$", section, re.MULTILINE)
        rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| word ")]
        assert len(words) == len(rows)
        assert words == sorted(words, key=str.lower)
    names = re.findall(r"^\| ([a-z][^|]+?) \|", GLOSSARY, re.MULTILINE)
    names = [name for name in names if name != "word"]
    assert len(names) == len(set(names))
