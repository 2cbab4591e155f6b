"""Histories of repositories, by git: bare, without file contents, from addresses that jobs may reach.

git runs as every tool does, in a group of its own that ends with us; GitPython reads what it has cloned. Nothing of
the host's git configuration counts, and whatever a job says reaches git as one argument behind `--`, or not at all.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from worker.adapters.git.addresses import pin_addresses
from worker.adapters.git.errors import clone_error, display_url
from worker.adapters.git.local import outside_reference
from worker.core.addresses import is_public
from worker.core.command import Command, Pipeline, Reason
from worker.core.errors import BadInput, RefusedPath, TimedOut, ToolFailed
from worker.core.location import External, parse_location
from worker.core.ports.programs import Clone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.core.command import Exit
    from worker.core.ports import Runner

CLONE_BYTES: Final = 2 << 30
CLONE_MEMORY_BYTES: Final = 4 << 30
LOG_MEMORY_BYTES: Final = 1 << 30
CLONE_SECONDS: Final = 900.0
LOG_BYTES: Final = 256 << 20
POLL_SECONDS: Final = 0.2
TOKEN: Final = re.compile(r"[\x21-\x7e]{1,4096}")

_MEMORY: Final = re.compile(r"Out of memory|Cannot allocate memory|malloc|calloc|realloc|mmap failed", re.IGNORECASE)
_NO_MAILMAP: Final = re.compile(r"(path '\.mailmap' does not exist|invalid object name|Not a valid object name)")
_USUAL_BRANCHES: Final = ("main", "master", "trunk", "develop", "default", "dev")
_OURS: Final = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
_CONFIG: Final = {
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
    "credential.helper": "",
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "submodule.recurse": "false",
    "transfer.bundleURI": "false",
    "gc.auto": "0",
}


@dataclass(frozen=True, slots=True)
class _Remote:
    """A repository that may be reached: how errors call it, git's own address of it, and what a git needs for it."""

    subject: str
    origin: str
    environment: Mapping[str, str]
    home: Path
    secrets: tuple[str, ...]
    label: str


class GitRepositories:
    """Clones with git; implements `worker.core.ports.Repositories`.

    `file_roots` are the folders whose repositories may be cloned by a `file:` URL, none by default. A clone takes at
    most `clone_bytes` and `clone_seconds`. `authority` is the file of the certificates that servers are proved by, the
    system's by default.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        git: str = "git",
        file_roots: Sequence[Path] = (),
        allow_private: bool = False,
        clone_bytes: int = CLONE_BYTES,
        clone_seconds: float = CLONE_SECONDS,
        log_bytes: int = LOG_BYTES,
        authority: Path | None = None,
        public: Callable[[str], bool] = is_public,
    ) -> None:
        self._runner, self._git = runner, git
        self._file_roots = tuple(file_roots)
        self._permitted = (lambda _: True) if allow_private else public
        self._bytes, self._seconds, self._log_bytes = clone_bytes, clone_seconds, log_bytes
        self._authority = authority

    async def clone(
        self, url: str, into: Path, *, token: str | None = None, mailmap: bool = False, label: str = ""
    ) -> Clone:
        """Return a bare clone of `url` below `into`; see the port."""
        home, target = into / "home", into / "repository.git"
        remote = await self._remote(url, home, token, label)
        await asyncio.to_thread(home.mkdir, parents=True)
        warnings: tuple[str, ...] = ()
        await self._clone_branch(remote, target, into)
        if not await asyncio.to_thread(_has_commit, target, display_url(url)):
            branch = await self._usual_branch(remote, into)
            if branch is None:
                raise BadInput(f"{display_url(url)} is empty: it has no commit")
            await asyncio.to_thread(shutil.rmtree, target)
            await self._clone_branch(remote, target, into, branch)
            name = ascii(branch)[1:-1]
            warnings = (f"HEAD of {display_url(url)} names a branch that is not there; this is the history of {name}",)
        if mailmap:
            await self._fetch_mailmap(remote, target, into)
        return Clone(target, warnings)

    async def _remote(self, url: str, home: Path, token: str | None, label: str) -> _Remote:
        config, protocol, origin = dict(_CONFIG), "https", url
        secrets: tuple[str, ...] = ()
        if token is not None and not TOKEN.fullmatch(token):
            raise BadInput("the token holds what no token holds: blanks, control characters or other scripts")
        if url.startswith("file:"):
            protocol, origin = "file", await asyncio.to_thread(self._local, url)
        else:
            config["http.curloptResolve"] = await pin_addresses(url, self._permitted)
            if token:
                header = base64.b64encode(f"x-access-token:{token}".encode()).decode()
                config["http.extraHeader"] = f"Authorization: Basic {header}"
                secrets = (token, header)
        # https alone: a server may name another protocol in a redirect or a submodule
        environment = _OURS | {"HOME": str(home), "GIT_ALLOW_PROTOCOL": protocol} | _as_environment(config)
        if self._authority is not None:
            environment["GIT_SSL_CAINFO"] = str(self._authority)
        return _Remote(display_url(url), origin, environment, home, secrets, label)

    async def _clone_branch(self, remote: _Remote, target: Path, into: Path, branch: str | None = None) -> None:
        """Clone one branch, HEAD's by default."""
        named = () if branch is None else (f"--branch={branch}",)
        argv = (
            "clone", "--bare", "--no-tags", "--single-branch", "--filter=blob:none", "--template=",
            "--no-local", "--quiet", *named, "--", remote.origin, str(target),
        )  # fmt: skip
        exit_ = await self._run_git(remote, argv, into)
        if not exit_.ok:
            raise clone_error(exit_, remote.subject, remote.secrets)

    async def _usual_branch(self, remote: _Remote, into: Path) -> str | None:
        """Return the branch that a repository whose HEAD names none has most likely as its main one; None for none."""
        exit_ = await self._run_git(remote, ("ls-remote", "--heads", "--", remote.origin, "refs/heads/*"), into)
        if not exit_.ok:
            raise clone_error(exit_, remote.subject, remote.secrets)
        names = [line.partition("\trefs/heads/")[2] for line in exit_.output.splitlines() if "\trefs/heads/" in line]
        return next((name for name in _USUAL_BRANCHES if name in names), names[0] if names else None)

    async def _fetch_mailmap(self, remote: _Remote, target: Path, into: Path) -> None:
        """Fetch the one file of the repository that its log needs, where it has it."""
        exit_ = await self._run_git(remote, (f"--git-dir={target}", "cat-file", "-s", "HEAD:.mailmap"), into)
        if not exit_.ok and not _NO_MAILMAP.search(exit_.tail):
            raise clone_error(exit_, f"the .mailmap of {remote.subject}", remote.secrets)

    async def _run_git(self, remote: _Remote, arguments: Sequence[str], into: Path) -> Exit:
        """Return how a git ended that may reach the remote, its time and its bytes bounded."""
        argv = (self._git, *arguments)
        command = Command(
            argv, remote.environment, folder=remote.home, secrets=remote.secrets, memory_bytes=CLONE_MEMORY_BYTES
        )
        too_large = f"{remote.subject} is too large: more than {self._bytes} bytes without its files' contents"
        exit_ = await self._bounded(Pipeline((command,), label="clone"), into, (self._bytes, too_large), remote.label)
        if exit_.reason is Reason.TIMED_OUT:
            raise TimedOut(f"{remote.subject} was not cloned within {self._seconds:.0f} s")
        return exit_

    async def log(self, repository: Path, arguments: Sequence[str], *, name: str = "", label: str = "") -> Path:
        """Return the file that `git ARGUMENTS` wrote as `{output}`, bounded while it runs; see the port."""
        output = repository.parent / "log"
        subject = f"the history of {name}" if name else "the history"
        # no protocol at all: what a clone without blobs lacks is not fetched behind our back
        environment = _OURS | {"HOME": str(repository.parent / "home"), "GIT_ALLOW_PROTOCOL": "none"}
        argv = (self._git, *(argument.replace("{output}", str(output)) for argument in arguments))
        command = Command(argv, environment, memory_bytes=LOG_MEMORY_BYTES)
        too_large = f"{subject} is too large: its log has more than {self._log_bytes} bytes"
        # a commit's changes are all in git's memory before the first of them is written
        exit_ = await self._bounded(Pipeline((command,), label="log"), output, (self._log_bytes, too_large), label)
        if _MEMORY.search(exit_.tail):
            raise BadInput(f"{subject} is too large: git needs more than {LOG_MEMORY_BYTES} bytes for its log")
        if exit_.reason is Reason.TIMED_OUT:
            raise TimedOut(f"{subject} was not read within {self._seconds:.0f} s")
        if not exit_.ok:
            raise ToolFailed(str(exit_), passing=exit_.signal is not None)
        return output

    def _local(self, url: str) -> str:
        """Return the URL of a local repository with all links resolved; RefusedPath outside of the allowed roots."""
        place = parse_location(url)
        if not isinstance(place, External) or place.scheme != "file":
            raise RefusedPath(f"{display_url(url)} is no file: URL")
        if not self._file_roots:
            raise RefusedPath(f"{display_url(url)}: this worker clones no file: repositories (WORKER_ALLOW_FILE_REPOS)")
        path = Path(place.path).resolve()
        if not any(path.is_relative_to(root.resolve()) for root in self._file_roots):
            raise RefusedPath(f"{display_url(url)} lies outside of the folders that jobs may touch")
        if not path.exists():
            raise BadInput(f"{display_url(url)}: there is no such repository")
        if outside := outside_reference(path):
            raise RefusedPath(f"{display_url(url)} takes objects from elsewhere: {outside}")
        return f"file://{quote(str(path))}"  # git decodes it

    async def _bounded(self, pipeline: Pipeline, grows: Path, most: tuple[int, str], label: str) -> Exit:
        """Return how git ended; BadInput as soon as the file or folder `grows` has more bytes than `most` says."""
        running = asyncio.ensure_future(self._runner.run(pipeline, timeout=self._seconds, label=label))
        limit, complaint = most
        size = 0
        try:
            while not running.done() and size <= limit:
                await asyncio.wait({running}, timeout=POLL_SECONDS)
                size = await asyncio.to_thread(_size, grows)
        finally:
            if not running.done():
                running.cancel()
                await asyncio.wait({running})
        if size > limit:
            raise BadInput(complaint)
        (exit_,) = await running
        return exit_


def _as_environment(config: Mapping[str, str]) -> dict[str, str]:
    """Return git's settings as its environment takes them: no argv of ours shows them, a header least of all."""
    variables = {"GIT_CONFIG_COUNT": str(len(config))}
    for index, (key, value) in enumerate(config.items()):
        variables |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return variables


def _size(folder: Path) -> int:
    """Return the bytes of a file, or of all below `folder`; git moves them about meanwhile."""
    if folder.is_file():
        return folder.stat().st_size
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(root, name).lstat().st_size
            except FileNotFoundError:
                continue
    return total


def _has_commit(target: Path, subject: str) -> bool:
    """Return whether the HEAD of a clone is a commit; BadInput for what is no repository."""
    # GitPython looks for git as it is imported, and fails without: only who clones needs either
    from git import GitCommandError, Repo  # noqa: PLC0415
    from git.exc import GitError  # noqa: PLC0415

    try:
        # git itself is asked: GitPython's own reading of objects knows SHA-1 only
        with Repo(target) as repository, repository.git.custom_environment(**_OURS, GIT_ALLOW_PROTOCOL="none"):
            try:
                repository.git.cat_file("-e", "HEAD^{commit}")
            except GitCommandError:
                return False
            return True
    except (GitError, ValueError, OSError) as error:
        raise BadInput(f"{subject} cannot be read once cloned: {error}") from error
