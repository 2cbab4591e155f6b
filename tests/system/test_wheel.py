"""The wheel, installed where nothing of this tree is: it serves the page with its templates, styles and scripts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from pathlib import Path

import httpx
import pytest

from infra.local.ports import free_port
from infra.migrations import upgrade

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 90.0


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    argv = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target))
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (found,) = target.glob("*.whl")
    return found


def test_the_wheel_holds_every_file_of_its_packages(wheel):
    listed = subprocess.run(
        ("git", "ls-files", "worker", "visualizers", "infra"), cwd=ROOT, check=True, capture_output=True, text=True
    )
    tracked = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    with zipfile.ZipFile(wheel) as archive:
        missing = tracked - set(archive.namelist())
    assert not missing
    assert sum(name.startswith("worker/web/templates/") for name in tracked) > 10


def test_an_installed_wheel_serves_the_page(wheel, tmp_path):
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    packages = next((home / "lib").glob("python3.*")) / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # What it depends on is here already; the tree itself is not on that path.
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    upgrade(url)
    port = free_port(frozenset())
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | {
        "WORKER_DATABASE_URL": url, "WORKER_SERVE_ADDRESS": f"127.0.0.1:{port}", "WORKER_NAS_ROOT": str(tmp_path),
    }  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        argv = (str(home / "bin" / "python"), "-m", "worker", "serve")
        process = subprocess.Popen(argv, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(address, process, tmp_path / "log")
        origin = subprocess.run(
            (argv[0], "-c", "import worker; print(worker.__file__)"), cwd=tmp_path, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        assert Path(origin.stdout.strip()).is_relative_to(packages)
        for path in ("/", "/jobs", "/new", "/new?module=hls", "/dead", "/fleet", "/settings"):
            answer = httpx.get(address + path, timeout=60)
            assert answer.status_code == 200, (path, answer.text[-500:])
            for own in re.findall(r'(?:href|src)="(/static/[^"]+)"', answer.text):
                assert httpx.get(address + own, timeout=60).status_code == 200, own
    finally:
        process.terminate()
        process.wait(30)


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the server answers."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if httpx.get(f"{address}/healthz", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.1)
