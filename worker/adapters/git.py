"""Histories of repositories, by git: bare, without file contents, from addresses that jobs may reach.

git runs as every tool does, in a group of its own that ends with us; GitPython reads what it has cloned. Nothing of
the host's git configuration counts, and whatever a job says reaches git as one argument behind `--`, or not at all.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from worker.core.addresses import is_public
from worker.core.command import Command, Pipeline, Reason
from worker.core.errors import BadInput, DiskFull, LeveretError, RefusedPath, RemoteUnavailable, TimedOut, ToolFailed
from worker.core.location import External, parse_location
from worker.core.redaction import redact

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
RESOLVE_SECONDS: Final = 20.0
TOKEN: Final = re.compile(r"[\x21-\x7e]{1,4096}")

_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?|[0-9a-f:.]+", re.IGNORECASE)
_PRIVATE: Final = re.compile(
    r"could not read (Username|Password)|Authentication failed|returned error: 40[13]|access denied|"
    r"invalid credentials",
    re.IGNORECASE,
)
_MISSING: Final = re.compile(
    r"repository '.*' not found|does not exist|returned error: 404|returned error: 410|No such file or directory",
    re.IGNORECASE,
)
_REDIRECTED: Final = re.compile(r"unable to update url base from redirection|returned error: 30\d", re.IGNORECASE)
_NONE: Final = re.compile(
    r"does not appear to be a git repository|not valid: is this a git repository|bad line length|"
    r"protocol error|invalid (index-pack|ref)|not a git repository|fetch-pack: invalid",
    re.IGNORECASE,
)
_REMOTE: Final = re.compile(r"remote: |(fatal|error): remote error: ")
_MEMORY: Final = re.compile(r"Out of memory|Cannot allocate memory|malloc|calloc|realloc|mmap failed", re.IGNORECASE)
_FULL: Final = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)
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


class GitRepositories:
    """Clones with git; implements `worker.core.ports.Repositories`.

    `file_roots` are the folders whose repositories may be cloned by a `file:` URL, none by default. A clone takes at
    most `clone_bytes` and `clone_seconds`. `authority` is the file of the
    certificates that servers are proved by, the system's by default.
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

    async def clone(self, url: str, into: Path, *, token: str | None = None, label: str = "") -> Path:
        """Return a bare clone of `url` below `into`; see the port."""
        config, protocol, origin = dict(_CONFIG), "https", url
        secrets: tuple[str, ...] = ()
        if token is not None and not TOKEN.fullmatch(token):
            raise BadInput("the token holds what no token holds: blanks, control characters or other scripts")
        if url.startswith("file:"):
            protocol, origin = "file", await asyncio.to_thread(self._local, url)
        else:
            config["http.curloptResolve"] = await self._pinned(url)
            if token:
                header = base64.b64encode(f"x-access-token:{token}".encode()).decode()
                config["http.extraHeader"] = f"Authorization: Basic {header}"
                secrets = (token, header)
        home, target = into / "home", into / "repository.git"
        await asyncio.to_thread(home.mkdir, parents=True)
        # https alone: a server may name another protocol in a redirect or a submodule
        environment = _OURS | {"HOME": str(home), "GIT_ALLOW_PROTOCOL": protocol} | _as_environment(config)
        if self._authority is not None:
            environment["GIT_SSL_CAINFO"] = str(self._authority)
        argv = (
            self._git, "clone", "--bare", "--no-tags", "--single-branch", "--filter=blob:none", "--template=",
            "--no-local", "--quiet", "--", origin, str(target),
        )  # fmt: skip
        command = Command(argv, environment, folder=home, secrets=secrets, memory_bytes=CLONE_MEMORY_BYTES)
        too_large = f"{_shown(url)} is too large: more than {self._bytes} bytes without its files' contents"
        exit_ = await self._bounded(Pipeline((command,), label="clone"), into, (self._bytes, too_large), label)
        if exit_.reason is Reason.TIMED_OUT:
            raise TimedOut(f"{_shown(url)} was not cloned within {self._seconds:.0f} s")
        if not exit_.ok:
            raise meaning(exit_, _shown(url), secrets)
        await asyncio.to_thread(_look, target, _shown(url))
        return target

    async def log(self, repository: Path, arguments: Sequence[str], *, label: str = "") -> bytes:
        """Return what `git ARGUMENTS` writes into `{output}`, bounded while it runs; see the port."""
        output = repository.parent / "log"
        # no protocol at all: what a clone without blobs lacks is not fetched behind our back
        environment = _OURS | {"HOME": str(repository.parent / "home"), "GIT_ALLOW_PROTOCOL": "none"}
        argv = (self._git, *(argument.replace("{output}", str(output)) for argument in arguments))
        command = Command(argv, environment, memory_bytes=LOG_MEMORY_BYTES)
        too_large = f"the history is too large: its log has more than {self._log_bytes} bytes"
        # a commit's changes are all in git's memory before the first of them is written
        exit_ = await self._bounded(Pipeline((command,), label="log"), output, (self._log_bytes, too_large), label)
        if _MEMORY.search(exit_.tail):
            raise BadInput(f"the history is too large: git needs more than {LOG_MEMORY_BYTES} bytes for its log")
        if exit_.reason is Reason.TIMED_OUT:
            raise TimedOut(f"the history was not read within {self._seconds:.0f} s")
        if not exit_.ok:
            raise ToolFailed(str(exit_), passing=exit_.signal is not None)
        return await asyncio.to_thread(output.read_bytes)

    def _local(self, url: str) -> str:
        """Return the URL of a local repository with all links resolved; RefusedPath outside of the allowed roots."""
        place = parse_location(url)
        if not isinstance(place, External) or place.scheme != "file":
            raise RefusedPath(f"{_shown(url)} is no file: URL")
        if not self._file_roots:
            raise RefusedPath(f"{_shown(url)}: this worker clones no file: repositories (WORKER_ALLOW_FILE_REPOS)")
        path = Path(place.path).resolve()
        if not any(path.is_relative_to(root.resolve()) for root in self._file_roots):
            raise RefusedPath(f"{_shown(url)} lies outside of the folders that jobs may touch")
        if not path.exists():
            raise BadInput(f"{_shown(url)}: there is no such repository")
        return f"file://{quote(str(path))}"  # git decodes it

    async def _pinned(self, url: str) -> str:
        """Return where curl shall connect for this URL: to the very addresses that were looked at."""
        host, port = _host_of(url)
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError as error:
            raise RemoteUnavailable(f"the name {host} was not looked up in time") from error
        except socket.gaierror as error:
            raise RemoteUnavailable(f"the name {host} is not known") from error
        except UnicodeError as error:
            raise RefusedPath(f"{host[:100]!r} is no host name") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if refused := [address for address in addresses if not self._permitted(address)]:
            raise RefusedPath(f"{host} leads to {refused[0]}, which is no public address")
        shown = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
        return f"{host}:{port}:{shown}"

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


def _host_of(url: str) -> tuple[str, int]:
    """Return the host and the port of an https URL; RefusedPath for every other protocol and spelling."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url or len(url) > 2048:  # noqa: PLR2004
        raise RefusedPath(f"{_shown(url)} is no URL: it holds blanks, control characters or other scripts")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
    except ValueError as error:
        raise RefusedPath(f"{_shown(url)} is no URL: {error}") from error
    if not url.startswith("https://"):
        raise RefusedPath(f"{_shown(url)}: repositories are cloned over https only")
    if "@" in parts.netloc:
        raise RefusedPath(f"{_shown(url)}: a URL with a user name or password in it is refused")
    if not _HOST.fullmatch(host):
        raise RefusedPath(f"{_shown(url)}: there is no host, or one that is no name")
    return host, port


def _shown(url: str) -> str:
    """Return a URL as an error may show it: without userinfo, query and whatever else is long."""
    return redact(url.partition("?")[0].partition("#")[0][:200].encode("unicode_escape").decode())


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


def _look(target: Path, shown: str) -> None:
    """Return if the clone has a commit to show; BadInput otherwise."""
    # GitPython looks for git as it is imported, and fails without: only who clones needs either
    from git import Repo  # noqa: PLC0415
    from git.exc import GitError  # noqa: PLC0415

    try:
        with Repo(target) as repository:
            empty = not repository.head.is_valid()
    except (GitError, ValueError, OSError) as error:
        raise BadInput(f"{shown} cannot be read once cloned: {error}") from error
    if empty:
        raise BadInput(f"{shown} is empty: it has no commit")


def meaning(exit_: Exit, shown: str, secrets: tuple[str, ...]) -> LeveretError:
    """Return what a failed clone means for its job."""
    lines = [line.strip() for line in redact(exit_.tail, secrets).splitlines() if line.strip()]
    # what the server says is shown, but decides nothing; neither does what the job's URL holds
    url = exit_.command.argv[-2]
    words = "\n".join(line.replace(url, "<url>") for line in lines if not _REMOTE.match(line))
    # git says why first, and then only what follows from it
    why = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "")
    reason = f"({why.removeprefix('fatal: ')[:300]})" if why else f"({exit_})"
    if _FULL.search(words):
        return DiskFull(f"{shown} was not cloned {reason}")
    if _REDIRECTED.search(words):
        return BadInput(f"{shown} answers with a redirect, which is not followed: name the address that it leads to")
    if _PRIVATE.search(words):
        return BadInput(f"{shown} is private or not there: it wants a token that may read it {reason}")
    if _MISSING.search(words):
        return BadInput(f"{shown}: there is no such repository {reason}")
    if _NONE.search(words):
        return BadInput(f"{shown} is not a git repository {reason}")
    return RemoteUnavailable(f"{shown} was not cloned {reason}")
