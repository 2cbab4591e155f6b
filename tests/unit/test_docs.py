"""What the pages say is so: links lead somewhere, commands and settings exist, generated pages are the code's."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from worker.app.components import registry
from worker.cli import command_line
from worker.core.message.dialects import decode
from worker.settings import Settings
from worker.web.command import add_to as add_page_commands

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
EXAMPLES = ROOT / "docs/how-to/examples"
REGISTRY = registry()
ROOT_COMMAND = get_command(command_line(None, add_page_commands))

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEREDOC = re.compile(r"<<END\n(\{.*?\n)END$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:^|[\s(]|bin/)(?:leveret|python -m worker)((?: +(?:-{0,2}[\w-]+))*)")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def code_of(page):
    """Return every line of code in a page, in fences or between backticks."""
    text = page.read_text()
    fenced = [line for match in FENCE.finditer(text) for line in match[2].splitlines()]
    return fenced + CODE.findall(FENCE.sub("", text))


def anchors_of(page):
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@every_page
def test_every_relative_link_leads_to_something(page):
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        assert place.exists(), target
        assert not anchor or anchor in anchors_of(place), target


def described(words):
    """Return the command that `words` begin with and the options of every command on the way; None for prose."""
    command = ROOT_COMMAND
    options = {"--help", "-h", *(one for option in command.params for one in option.opts)}
    for word in words:
        if word.startswith("-"):
            continue
        inner = getattr(command, "commands", {}).get(word)
        if inner is None:
            break
        command = inner
        options |= {one for option in command.params for one in (*option.opts, *option.secondary_opts)}
    return command, options


@every_page
def test_every_command_that_a_page_names_exists(page):
    for line in code_of(page):
        for match in COMMAND.finditer(line):
            words = match[1].split()
            if words and not words[0].startswith("-"):
                assert words[0] in ROOT_COMMAND.commands, line
            command, options = described(words)
            if getattr(command, "commands", None) and command is not ROOT_COMMAND:
                assert len(words) == 1, line
            unknown = [word for word in words if word.startswith("-") and word not in {"-", *options}]
            assert not unknown, line


def test_every_command_of_infra_that_a_page_names_exists():
    listing = subprocess.run(
        (sys.executable, "-m", "infra", "--help"), cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    known = set(re.findall(r"^    (\w+) ", listing, re.MULTILINE))
    named = {word for page in PAGES for line in code_of(page) for word in re.findall(r"python -m infra (\w+)", line)}
    assert "provision" in named
    assert named <= known


@every_page
def test_every_setting_that_a_page_names_exists(page):
    known = {f"WORKER_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"WORKER_[A-Z0-9_]*[A-Z0-9]", page.read_text())) <= known


@every_page
def test_every_make_target_that_a_page_names_exists(page):
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in code_of(page):
        assert set(re.findall(r"(?:^|\s)make ([a-z]+)", line)) <= known, line


@every_page
def test_every_job_that_a_page_shows_is_one(page):
    fences = FENCE.findall(page.read_text())
    typed = [text for language, shell in fences if language == "sh" for text in HEREDOC.findall(shell)]
    for text in [text for language, text in fences if language == "json"] + typed:
        document = json.loads(re.sub(r"\$\w+", "1", text))
        if isinstance(document, dict) and "tasks" in document:
            job = decode(json.dumps(document).encode(), "some-id")
            assert job.tasks
            for spec in job.tasks:
                if not (EXAMPLES / f"leveret-{spec.module}").is_dir():
                    REGISTRY.parse(spec)


@every_page
def test_no_page_mentions_the_machine_that_it_was_written_on(page):
    assert not re.findall(r"/(?:work|home|root)/|pypi\.org|files\.pythonhosted", page.read_text())


def test_the_reference_pages_are_what_the_code_says():
    done = subprocess.run(
        (sys.executable, "docs/generate.py", "--check"),
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_field_of_a_module_and_of_a_message_is_explained():
    for page in (ROOT / "docs/reference/message.md", *(ROOT / "docs/reference/modules").glob("*.md")):
        rows = re.findall(r"^\| `.*$", page.read_text(), re.MULTILINE)
        assert rows
        assert not [row for row in rows if re.search(r"\|\s*(Also written [^|]*)?\|$", row)], page.name


@pytest.mark.parametrize(
    ("page", "example"),
    [("write-a-task.md", "leveret-checksum"), ("write-a-visualizer.md", "leveret-mandelbrot")],
)
def test_the_how_to_shows_the_very_files_of_its_example(page, example):
    page = (EXAMPLES.parent / page).read_text()
    shown = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    there = {path.name: path.read_text() for path in (EXAMPLES / example).iterdir() if path.is_file()}
    assert shown == there


def test_every_test_and_module_that_the_page_on_security_names_is_there():
    page = (ROOT / "docs/explanation/security.md").read_text()
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 50
    assert sorted(name for name in named if f"def {name}(" not in tests) == []
    places = re.findall(
        r"`((?:core|adapters|engine|media|process|tasks|web|app|cli)/[\w/.]*|visualizers/[\w.]+)`", page
    )
    assert [one for one in places if not ((ROOT / "worker" / one).exists() or (ROOT / one).exists())] == []
