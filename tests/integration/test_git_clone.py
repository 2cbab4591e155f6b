"""Clones by the real git: what may be cloned is, and everything else ends in one clear, classified error."""

from __future__ import annotations

import os
import subprocess
import time
from io import BytesIO
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.git_server import ENCODED, TOKEN, served
from tests.support.visualizers import made_repository
from visualizers.gitlog import custom_log, log_command, read_log
from worker.adapters.git import GitRepositories
from worker.core.errors import BadInput, LeveretError, RefusedPath, RemoteUnavailable, TimedOut
from worker.process.runner import ProcessRunner

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.ports import Clone

ONE = {"a.py": "1"}


def repositories(root: Path | None, **options) -> GitRepositories:
    return GitRepositories(ProcessRunner(dict(os.environ)), file_roots=(root,) if root else (), **options)


async def refused(url: str, tmp_path: Path, git: GitRepositories, token: str | None = None) -> LeveretError:
    with pytest.raises(LeveretError) as caught:
        await git.clone(url, tmp_path / "into", token=token)
    assert TOKEN not in str(caught.value)
    return caught.value


async def test_a_clone_holds_the_history_and_no_contents(tmp_path):
    origin = made_repository(tmp_path / "origin", {"a.py": "x" * 5000}, {"a.py": "y" * 5000, "ç.py": "2"})
    git = repositories(tmp_path)
    clone = await git.clone(f"file://{origin}", tmp_path / "into")
    *head, commit, end = log_command(str(clone.folder))
    log = await git.log(clone.folder, (*head, "--output={output}", commit, end))
    assert len(custom_log(read_log(BytesIO(log.read_bytes()))).splitlines()) == 3
    kinds = subprocess.run(
        ("git", "-C", clone.folder, "cat-file", "--batch-check", "--batch-all-objects"), capture_output=True, check=True
    )
    assert b"blob" not in kinds.stdout


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("empty", "is empty: it has no commit"),
        ("plain", "is not a git repository"),
        ("gone", "there is no such repository"),
    ],
)
async def test_a_repository_that_cannot_be_cloned_is_reported_in_one_line(tmp_path, name, complaint):
    made_repository(tmp_path / "empty")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "file").write_text("no git")
    error = await refused(f"file://{tmp_path}/{name}", tmp_path, repositories(tmp_path))
    assert isinstance(error, BadInput)
    assert complaint in str(error)
    assert "\n" not in str(error)


async def test_a_repository_that_is_too_large_is_refused(tmp_path):
    origin = made_repository(tmp_path / "origin", ONE)
    error = await refused(f"file://{origin}", tmp_path, repositories(tmp_path, clone_bytes=500))
    assert isinstance(error, BadInput)
    assert "too large: more than 500 bytes" in str(error)


async def test_file_repositories_need_the_setting_and_a_root(tmp_path):
    origin = made_repository(tmp_path / "outside" / "origin", ONE)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(origin)
    without = await refused(f"file://{origin}", tmp_path, repositories(None))
    beside = await refused(f"file://{origin}", tmp_path, repositories(tmp_path / "root"))
    linked = await refused(f"file://{tmp_path}/root/link", tmp_path, repositories(tmp_path / "root"))
    assert "WORKER_ALLOW_FILE_REPOS" in str(without)
    assert {type(error) for error in (without, beside, linked)} == {RefusedPath}


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% /tmp/x",
        "ext::https://example.org/",
        "git://example.org/x.git",
        "ssh://example.org/x.git",
        "git@example.org:x.git",
        "http://example.org/x.git",
        "fd::17",
        "--upload-pack=touch /tmp/x",
        "-c",
        "https://user:hunter2@example.org/x.git",
        "https://user@example.org/x.git",
        "https://example.org\\@127.0.0.1/x.git",
        "https://127.0.0.1/x.git",
        "https://2130706433/x.git",
        "https://[::1]/x.git",
        "https://[::ffff:10.0.0.1]/x.git",
        "https://169.254.169.254/latest",
        "https://localhost/x.git",
        "https:///x.git",
        "https://example.org/x\n.git",
        "https://example.org:99999/x.git",
        "HTTPS::https://example.org",
        "/etc",
        "",
    ],
)
async def test_hostile_addresses_are_refused_before_git_starts(tmp_path, url):
    error = await refused(url, tmp_path, repositories(tmp_path))
    assert isinstance(error, RefusedPath)
    assert "hunter2" not in str(error)
    assert not (tmp_path / "into").exists()


async def test_a_token_that_is_none_is_refused(tmp_path):
    for token in ("a b", "a\r\nX-Header: 1", "ä"):
        assert isinstance(await refused("https://example.org/x", tmp_path, repositories(None), token), BadInput)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("https")
    made_repository(folder / "origin", ONE)
    with served(folder) as address:
        yield address


async def test_a_private_repository_is_cloned_with_a_token_that_no_argv_shows(tmp_path, server):
    url, certificate = server
    seen = []

    class Watching(ProcessRunner):
        async def run(self, pipeline, *arguments, **options):
            seen.extend(part for command in pipeline.stages for part in command.argv)
            return await super().run(pipeline, *arguments, **options)

    git = GitRepositories(Watching(dict(os.environ)), allow_private=True, authority=certificate)
    clone = await git.clone(f"{url}/origin/.git", tmp_path / "into", token=TOKEN)
    config = (clone.folder / "config").read_text()
    assert seen
    assert not [text for text in (*seen, config) if TOKEN in text or ENCODED in text]


@pytest.mark.parametrize(
    ("path", "token", "kind", "complaint"),
    [
        ("origin/.git", None, BadInput, "is private or not there: it needs a token"),
        ("origin/.git", "wrong", BadInput, "is private or not there: it needs a token"),
        ("moved/.git", TOKEN, BadInput, "answers with a redirect, which is not followed"),
        ("gone/.git", TOKEN, BadInput, "there is no such repository"),
        ("page/.git", TOKEN, BadInput, "is not a git repository"),
        ("sick/.git", TOKEN, RemoteUnavailable, "was not cloned"),
    ],
)
async def test_a_servers_refusals_are_classified(tmp_path, server, path, token, kind, complaint):
    url, certificate = server
    git = repositories(None, allow_private=True, authority=certificate)
    error = await refused(f"{url}/{path}", tmp_path, git, token)
    assert type(error) is kind, error
    assert complaint in str(error)


async def test_a_server_that_nobody_vouches_for_is_not_trusted(tmp_path, server):
    error = await refused(f"{server[0]}/origin/.git", tmp_path, repositories(None, allow_private=True), TOKEN)
    assert "certificate" in str(error)


async def test_a_server_that_says_nothing_is_given_up_in_time_and_no_git_is_left(tmp_path, server):
    url, certificate = server
    git = repositories(None, allow_private=True, authority=certificate, clone_seconds=1.0)
    started = time.monotonic()
    error = await refused(f"{url}/slow/.git", tmp_path, git, TOKEN)
    assert type(error) is TimedOut
    assert "was not cloned within 1 s" in str(error)
    assert time.monotonic() - started < 10
    assert [child.name() for child in psutil.Process().children(recursive=True) if "git" in child.name()] == []


SETTINGS = {
    "an include": "[include]\n\tpath = /etc/hostname\n",
    "a conditional include": '[IncludeIf "gitdir:/"]\n\tpath = x\n',
    "a promisor": '[remote "x"]\n\tpromisor = true\n\turl = file:///srv/other\n',
    "a program to fetch with": '[remote "x"]\n\tuploadPack = touch x; git-upload-pack\n',
    "a promisor behind a megabyte": "#" * (1 << 20) + '\n[remote "x"]\n\tpromisor\n',
}
"""What a repository's own configuration may make git read, fetch or run while it is cloned."""


LINKS = ["linked objects", "linked below", "linked ref", "linked git"]


@pytest.mark.parametrize("way", ["alternates", "commondir", "git file", *LINKS, *SETTINGS])
async def test_a_local_repository_takes_no_objects_from_elsewhere(tmp_path, way):
    secret = made_repository(tmp_path / "secret", ONE)
    root = tmp_path / "root"
    root.mkdir()
    origin = made_repository(root / "origin", ONE)
    inner = origin / ".git" if (origin / ".git").exists() else origin
    theirs = secret / ".git" if (secret / ".git").exists() else secret
    if way == "alternates":
        (inner / "objects" / "info").mkdir(exist_ok=True)
        (inner / "objects" / "info" / "alternates").write_text(f"{theirs / 'objects'}\n")
    elif way == "commondir":
        (inner / "commondir").write_text(f"{theirs}\n")
    elif way == "linked objects":
        (inner / "objects").rename(inner / "old")
        (inner / "objects").symlink_to(theirs / "objects")
    elif way == "linked below":
        (inner / "objects" / "pack").rmdir()
        (inner / "objects" / "pack").symlink_to(theirs / "objects" / "pack")
    elif way == "linked ref":
        (inner / "refs" / "heads" / "theirs").symlink_to(next((theirs / "refs" / "heads").iterdir()))
    elif way in SETTINGS:
        with (inner / "config").open("a") as settings:
            settings.write(SETTINGS[way])
    else:
        origin = root / "other"
        origin.mkdir()
        if way == "git file":
            (origin / ".git").write_text(f"gitdir: {theirs}\n")
        else:
            (origin / ".git").symlink_to(theirs)
    error = await refused(f"file://{origin}", tmp_path, repositories(root))
    assert isinstance(error, RefusedPath)
    assert "from elsewhere" in str(error)


async def history_of(git: GitRepositories, clone: Clone, *, mailmap: bool = False) -> str:
    *head, commit, end = log_command(str(clone.folder), mailmap=mailmap)
    log = await git.log(clone.folder, (*head, "--output={output}", commit, end))
    return custom_log(read_log(BytesIO(log.read_bytes())))


def git_in(folder: Path, *arguments: str) -> None:
    identity = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    subprocess.run(("git", "-C", str(folder), *who, *arguments), check=True, env={**os.environ, **identity})


async def test_a_repository_of_sha_256_is_cloned_and_read(tmp_path):
    (tmp_path / "origin").mkdir()
    git_in(tmp_path / "origin", "init", "-q", "-b", "main", "--object-format=sha256")
    (tmp_path / "origin/a").write_text("1")
    git_in(tmp_path / "origin", "add", "a")
    git_in(tmp_path / "origin", "commit", "-qm", "m")
    git = repositories(tmp_path)
    clone = await git.clone(f"file://{tmp_path}/origin", tmp_path / "into", mailmap=True)
    assert (await history_of(git, clone, mailmap=True)).endswith("|Ada|A|a\n")


@pytest.mark.parametrize(("branches", "chosen"), [(["topic", "master"], "master"), (["zeta", "beta"], "beta")])
async def test_a_head_that_names_an_absent_branch_gives_way_to_a_usual_one(tmp_path, branches, chosen):
    origin = made_repository(tmp_path / "origin", ONE)
    for branch in branches:
        git_in(origin, "branch", branch)
    git_in(origin, "symbolic-ref", "HEAD", "refs/heads/gone")
    git_in(origin, "branch", "-D", "main")
    git = repositories(tmp_path)
    clone = await git.clone(f"file://{origin}", tmp_path / "into")
    assert len(clone.warnings) == 1
    assert clone.warnings[0].endswith(f"this is the history of {chosen}")
    assert len((await history_of(git, clone)).splitlines()) == 1


async def test_the_mailmap_of_a_repository_names_its_authors(tmp_path):
    mailmap = {".mailmap": "Ada Lovelace <ada@example.org>\n"}
    made_repository(tmp_path / "origin", mailmap)
    (tmp_path / "origin/a").write_text("1")
    git_in(tmp_path / "origin", "add", "a")
    git_in(tmp_path / "origin", "commit", "-qm", "m")
    with served(tmp_path) as (url, certificate):
        git = GitRepositories(ProcessRunner(dict(os.environ)), allow_private=True, authority=certificate)
        clone = await git.clone(f"{url}/origin/.git", tmp_path / "into", token=TOKEN, mailmap=True)
    # the server is gone: nothing is fetched while the log is read
    assert "|Ada Lovelace|A|a\n" in await history_of(git, clone, mailmap=True)
    assert "|Ada|A|a\n" in await history_of(git, clone)
