"""Locations of files, as jobs name them: relative to the workspace, or an external URI in one normal form."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import quote, unquote, urlsplit

from worker.core.errors import RefusedPath

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES: Final = ("file", "nas", "s3", "https", "http")
MAX_LENGTH: Final = 4096
MAX_NAME: Final = 255

# The comma is ffmpeg's: `subfile,,start,0,end,9,,:/etc/passwd`.
_SCHEME: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.,-]*):(//)?")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Relative:
    """A file of the workspace; `path` is normalised, POSIX, and never leaves it."""

    path: str

    def __str__(self) -> str:
        """Return the path."""
        return self.path


@dataclass(frozen=True, slots=True)
class External:
    """A file outside: `file` (an absolute path), `nas` (path under the logical root), `s3`, `https`, `http`.

    `host` is the bucket or the network location, `path` starts with `/`. A trailing slash is kept: it
    says that a folder is meant. Two spellings of one place are equal.
    """

    scheme: str
    host: str
    path: str

    def __str__(self) -> str:
        """Return the URI; `file` and `nas` paths are unquoted, for people read them."""
        if self.scheme in {"https", "http"}:
            return f"{self.scheme}://{self.host}{self.path}"
        if self.scheme == "nas":
            return f"nas://{self.path.lstrip('/')}"
        return f"{self.scheme}://{self.host}{self.path}"

    @property
    def name(self) -> str:
        """Return the last part of the path, decoded."""
        return posixpath.basename(unquote(urlsplit(self.path).path) if self.is_web else self.path)

    @property
    def is_web(self) -> bool:
        """Return whether it can only be read, over HTTP."""
        return self.scheme in {"https", "http"}

    @property
    def is_folder(self) -> bool:
        """Return whether it names a folder."""
        return self.path.endswith("/")

    @property
    def key(self) -> str:
        """Return the path without its leading slash: an S3 key, or a path under the logical root."""
        return self.path.lstrip("/")

    def joined(self, relative: str) -> External:
        """Return the place of `relative` under this folder."""
        return External(self.scheme, self.host, self.path.rstrip("/") + "/" + relative.lstrip("/"))


Location: TypeAlias = Relative | External


def is_speakable(name: str) -> bool:
    """Return whether a job could name this file: a name in another encoding is read as surrogates."""
    return not _CONTROL.search(name) and _encodes(name)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def parse_location(text: str, path_map: Mapping[str, str] | None = None) -> Location:
    """Return what `text` names: a relative path, an absolute path, or a URI of one of `SCHEMES`.

    `path_map` translates a publisher's mount points to this host's (`/mnt/phoenix` → `/srv/nas`), the
    longest prefix first. Raises RefusedPath for control characters, over-long names, `..` that leaves its
    root, userinfo in a URL, what is no text in UTF-8, and every other scheme.
    """
    if not text or len(text) > MAX_LENGTH:
        raise RefusedPath(f"a path has 1 to {MAX_LENGTH} characters, not {len(text)}")
    if _CONTROL.search(text):
        raise RefusedPath(f"{text[:100]!r} holds control characters")
    if not _encodes(text):
        raise RefusedPath(f"{_shown(text)} holds what cannot be written in UTF-8")
    if text.startswith("/"):
        return External("file", "", _inside(_mapped(text, path_map or {}), text))
    match = _SCHEME.match(text)
    if match is None:
        return _relative(text)
    scheme = match[1].lower()
    if scheme not in SCHEMES or match[2] is None:
        cure = f"; for a file of that name write {_shown('./' + text)}" if match[2] is None else ""
        raise RefusedPath(
            f"{_shown(text)}: only relative paths, absolute paths and {', '.join(SCHEMES)} URIs are known{cure}"
        )
    return _external(scheme, text, path_map or {})


def _external(scheme: str, text: str, path_map: Mapping[str, str]) -> External:
    rest = text.split("://", 1)[1]
    if scheme == "nas":
        return External("nas", "", _inside("/" + rest, text))
    host, _, path = rest.partition("/")
    if scheme == "file":
        if host not in {"", "localhost"}:
            raise RefusedPath(f"{_shown(text)}: a file URI has no host; write file:///path")
        return External("file", "", _inside(_mapped("/" + path, path_map), text))
    if not host:
        raise RefusedPath(f"{_shown(text)}: there is no {'bucket' if scheme == 's3' else 'host'}")
    if "@" in host:
        raise RefusedPath(f"{_shown(text)}: a URL with a user name or password in it is refused")
    if scheme == "s3":
        return External("s3", host, _inside("/" + path, text))
    return External(scheme, host.lower(), quote("/" + path.partition("#")[0], safe="/?&=%:@!$'()*+,;~-._"))


def _relative(text: str) -> Relative:
    path = posixpath.normpath(text)
    if path == ".." or path.startswith("../") or path == ".":
        raise RefusedPath(f"{text[:200]!r} leaves the workspace")
    _check_names(path, text)
    return Relative(path)


def _inside(path: str, text: str) -> str:
    """Return `path` normalised; `..` at the root is an escape, not a no-op as POSIX has it."""
    depth = 0
    for part in path.split("/"):
        depth += -1 if part == ".." else 0 if part in {"", "."} else 1
        if depth < 0:
            raise RefusedPath(f"{_shown(text)} leaves its root")
    _check_names(path, text)
    normal = posixpath.normpath(path).replace("//", "/")
    return normal + "/" if path.endswith("/") and normal != "/" else normal


def _check_names(path: str, text: str) -> None:
    if any(len(part.encode()) > MAX_NAME for part in path.split("/")):
        raise RefusedPath(f"{_shown(text)}: one of its names is longer than {MAX_NAME} bytes")


def _mapped(path: str, path_map: Mapping[str, str]) -> str:
    for prefix in sorted(path_map, key=len, reverse=True):
        clean = prefix.rstrip("/")
        if path == clean or path.startswith(clean + "/"):
            return path_map[prefix].rstrip("/") + path[len(clean) :]
    return path


def _shown(text: str) -> str:
    """Return `text` as an error may show it: short, and without what comes before an `@`."""
    return repr(re.sub(r"//[^/@]*@", "//…@", text)[:200])
