"""The log of real repositories, made by git itself, down to the frames that gource counts in it."""

from __future__ import annotations

import os
import subprocess
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from visualizers.gitlog import custom_log, log_command, read_log

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "c",
    "GIT_COMMITTER_EMAIL": "c@example.org",
}


class Repository:
    """A repository that a test fills; times and authors are the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "-q", "-b", "main", author="x", time=0)

    def git(self, *arguments: str, author: str, time: int) -> bytes:
        when = f"@{time} +0000"
        changed = {**IDENTITY, "GIT_AUTHOR_NAME": author, "GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
        command = ("git", "-C", str(self.folder), *arguments)
        return subprocess.run(command, env={**os.environ, **changed}, check=True, capture_output=True).stdout

    def commit(self, author: str, time: int, **files: str | None) -> None:
        for name, text in files.items():
            self.write(name, text)
        self.git("add", "-A", author=author, time=time)
        self.git("commit", "-q", "--allow-empty", "-m", "m", author=author, time=time)

    def write(self, name: str, text: str | None) -> None:
        path = self.folder / name
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def log(self) -> str:
        command = ("git", *log_command(str(self.folder / ".git")))
        return custom_log(read_log(BytesIO(subprocess.run(command, check=True, capture_output=True).stdout)))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_additions_changes_renames_and_deletions_are_reported_in_their_order(repository: Repository) -> None:
    repository.commit("Ada", 1000, **{"src/a.py": "1", "b.py": "2"})
    repository.commit("Łukasz 王", 2000, **{"src/a.py": "3"})
    (repository.folder / "b.py").rename(repository.folder / "ç.py")
    repository.commit("Ada", 3000)
    repository.commit("Ada", 4000, **{"src/a.py": None})
    assert repository.log().splitlines() == [
        "1000|Ada|A|b.py",
        "1000|Ada|A|src/a.py",
        "2000|Łukasz 王|M|src/a.py",
        "3000|Ada|D|b.py",
        "3000|Ada|A|ç.py",
        "4000|Ada|D|src/a.py",
    ]


def test_hostile_names_stay_names(repository: Repository) -> None:
    repository.commit("E|ve", 1000, **{"--save-config=x": "", "a|b\n9|Eve|D|c": "", '"q\tu\\o"te': ""})
    assert sorted(repository.log().splitlines()) == [
        '1000|Eve|A|"qu\\o"te',
        "1000|Eve|A|--save-config=x",
        "1000|Eve|A|ab9EveDc",
    ]


def test_a_merge_adds_nothing_to_what_its_branches_did(repository: Repository) -> None:
    repository.commit("Ada", 1000, a="1")
    repository.git("checkout", "-q", "-b", "side", author="Bob", time=1500)
    repository.commit("Bob", 2000, b="1")
    repository.git("checkout", "-q", "main", author="Ada", time=2500)
    repository.commit("Ada", 3000, c="1")
    repository.git("merge", "-q", "--no-ff", "-m", "m", "side", author="Ada", time=4000)
    assert repository.log().splitlines() == ["1000|Ada|A|a", "2000|Bob|A|b", "3000|Ada|A|c"]


def test_a_clock_that_went_backwards_does_not_put_the_log_out_of_order(repository: Repository) -> None:
    for time, name in [(3000, "a"), (1000, "b"), (2000, "c"), (1000, "d")]:
        repository.commit("Ada", time, **{name: "1"})
    assert [line[-1] for line in repository.log().splitlines()] == ["b", "d", "c", "a"]


def test_a_submodule_is_one_file(repository: Repository) -> None:
    repository.commit("Ada", 1000, a="1")
    head = repository.git("rev-parse", "HEAD", author="Ada", time=1000).decode().strip()
    link = f"160000,{head},vendor/lib"
    repository.git("update-index", "--add", "--cacheinfo", link, author="Ada", time=2000)
    repository.git("commit", "-q", "-m", "m", author="Ada", time=2000)
    assert repository.log().splitlines() == ["1000|Ada|A|a", "2000|Ada|A|vendor/lib"]


def test_a_clone_without_blobs_is_read_without_its_origin(repository: Repository, tmp_path: Path) -> None:
    repository.commit("Ada", 1000, **{".mailmap": "Proper <a@example.org>\n", "a": "1"})
    repository.git("config", "uploadpack.allowFilter", "true", author="x", time=0)
    clone = tmp_path / "clone.git"
    arguments = ("clone", "-q", "--bare", "--filter=blob:none", f"file://{repository.folder}", str(clone))
    repository.git(*arguments, author="x", time=0)
    repository.folder.joinpath(".git").rename(tmp_path / "gone")
    command = ("git", *log_command(str(clone)))
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    assert custom_log(read_log(BytesIO(raw))) == "1000|Ada|A|.mailmap\n1000|Ada|A|a\n"


@pytest.mark.parametrize("date", ["99999999999999999999999 +0000", "-5 +0000", "", "yesterday"])
def test_a_commit_whose_date_git_cannot_print_is_shown_with_the_one_before(repository: Repository, date: str) -> None:
    repository.commit("Ada", 1000, a="1")
    repository.commit("Ada", 2000, a="2")
    tree = repository.git("rev-parse", "HEAD^{tree}", author="x", time=0).decode().strip()
    parent = repository.git("rev-parse", "HEAD^", author="x", time=0).decode().strip()
    text = f"tree {tree}\nparent {parent}\nauthor Eve <e@x> 1500 +0000\ncommitter C <c@x> {date}\n\nm\n"
    (repository.folder / "commit").write_text(text)
    made = repository.git("hash-object", "-t", "commit", "-w", "--literally", "commit", author="x", time=0)
    repository.git("update-ref", "refs/heads/main", made.decode().strip(), author="x", time=0)
    assert repository.log().splitlines() == ["1000|Ada|A|a", "1000|Eve|M|a"]
