"""Git's failures as errors of ours; none of them shows a secret."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from worker.core.errors import BadInput, DiskFull, LeveretError, RemoteUnavailable
from worker.core.redaction import redact

if TYPE_CHECKING:
    from worker.core.command import Exit

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
_FULL: Final = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)


def display_url(url: str) -> str:
    """Return a URL as an error may show it: without userinfo, query and whatever else is long."""
    return redact(url.partition("?")[0].partition("#")[0][:200].encode("unicode_escape").decode())


def clone_error(exit_: Exit, subject: str, secrets: tuple[str, ...]) -> LeveretError:
    """Return what a failed clone means for its job."""
    lines = [line.strip() for line in redact(exit_.tail, secrets).splitlines() if line.strip()]
    # what the server says is shown, but decides nothing; neither does what the job's URL holds
    url = exit_.command.argv[-2]
    words = "\n".join(line.replace(url, "<url>") for line in lines if not _REMOTE.match(line))
    # git says why first, and then only what follows from it
    why = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "")
    reason = f"({why.removeprefix('fatal: ')[:300]})" if why else f"({exit_})"
    if _FULL.search(words):
        return DiskFull(f"{subject} was not cloned {reason}")
    if _REDIRECTED.search(words):
        return BadInput(f"{subject} answers with a redirect, which is not followed: name the address that it leads to")
    if _PRIVATE.search(words):
        return BadInput(f"{subject} is private or not there: it needs a token that may read it {reason}")
    if _MISSING.search(words):
        return BadInput(f"{subject}: there is no such repository {reason}")
    if _NONE.search(words):
        return BadInput(f"{subject} is not a git repository {reason}")
    return RemoteUnavailable(f"{subject} was not cloned {reason}")
