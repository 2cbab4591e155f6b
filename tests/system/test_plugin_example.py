"""The examples of docs/how-to: installed as a stranger would, run by a real worker process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local import LocalServices

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs/how-to/examples"
EXAMPLE = EXAMPLES / "leveret-checksum"
FILM = EXAMPLES / "leveret-mandelbrot"
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("WORKER_", "AWS_", "RABBITMQ_"))}

pytestmark = pytest.mark.xdist_group("infra")


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    private = LocalServices(tmp_path_factory.mktemp("services"))
    try:
        private.up()
        yield private
    finally:
        private.down(purge=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return the folder that pip installed the examples into."""
    folder, copies = tmp_path_factory.mktemp("installed"), []
    for example in (EXAMPLE, FILM):
        sources = tmp_path_factory.mktemp("sources") / example.name
        sources.mkdir()
        for path in example.iterdir():
            if path.is_file():
                (sources / path.name).write_bytes(path.read_bytes())
        copies.append(sources)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps")
    done = subprocess.run(
        (*pip, "--no-build-isolation", "--target", folder, *copies), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def environment(tmp_path, services, installed):
    (tmp_path / "nas").mkdir()
    return CLEAN | {
        "PYTHONPATH": os.pathsep.join((str(installed), str(ROOT))),
        "WORKER_BROKER_URL": services.environment()["WORKER_BROKER_URL"],
        "WORKER_DATABASE_URL": f"sqlite:///{installed / 'jobs.db'}",
        "WORKER_NAS_ROOT": str(tmp_path / "nas"),
        "WORKER_STORAGE_URL": "nas://library",
        "WORKER_SCRATCH": str(tmp_path / "scratch"),
        "WORKER_SCRATCH_FREE_BYTES": "0",
    }


def said(environment, folder, module, *words):
    """Return what a command prints on standard output; it must succeed."""
    done = subprocess.run(
        (sys.executable, "-m", module, *words),
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def test_the_installed_example_completes_a_job_in_a_real_worker(tmp_path, environment):
    clip = ("-f", "lavfi", "-i", "testsrc2=s=160x90:d=1:r=10", "-f", "lavfi", "-i", "sine=d=1", "-shortest")
    subprocess.run(("ffmpeg", "-v", "error", *clip, tmp_path / "nas/film.mkv"), check=True, stdin=subprocess.DEVNULL)
    said(environment, tmp_path, "infra", "provision")
    job_id = said(environment, tmp_path, "worker", "submit", str(EXAMPLE / "job.json")).strip()
    said(environment, tmp_path, "worker", "run", "--drain")
    job = json.loads(said(environment, tmp_path, "worker", "job", job_id, "--json"))
    assert (job["state"], job["facts"]["checksums"]) == ("completed", 2)
    (artifact,) = job["artifacts"]
    lines = (tmp_path / "nas/library" / job_id / "film.sha256").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines] == [["0", "v"], ["1", "a"]]
    assert artifact["media_type"] == "text/plain"
    assert artifact["bytes"] == sum(len(line) + 1 for line in lines)


def test_the_installed_visualizer_makes_its_film_in_a_real_worker(tmp_path, environment):
    said(environment, tmp_path, "infra", "provision")
    job_id = said(environment, tmp_path, "worker", "submit", str(FILM / "job.json")).strip()
    said(environment, tmp_path, "worker", "run", "--drain")
    job = json.loads(said(environment, tmp_path, "worker", "job", job_id, "--json"))
    assert job["state"] == "completed", job["error"]
    playlist = tmp_path / "nas/library" / job_id / "master.m3u8"
    count = ("ffprobe", "-v", "error", "-count_packets", "-select_streams", "v:0", "-show_entries")
    result = subprocess.run(
        (*count, "stream=nb_read_packets", "-of", "csv=p=0", "-i", playlist), capture_output=True, text=True, check=True
    )
    assert result.stdout.split()[0].strip(",") == "75"
    assert job["thumbnail_url"].endswith("/poster.jpg")


@pytest.mark.parametrize(("example", "test"), [(EXAMPLE, "test_checksum.py"), (FILM, "test_mandelbrot.py")])
def test_the_examples_own_test_passes_on_the_installed_package(tmp_path, environment, example, test):
    (tmp_path / test).write_text((example / test).read_text())
    assert "1 passed" in said(environment, tmp_path, "pytest", "-q", "-p", "no:cacheprovider", test)
