"""What all tests may ask for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.command_line import CommandLine
from tests.support.databases import provision
from worker.app.control import modules

# How long an example takes says how busy the machine is.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

ENTRY_POINTS = "[leveret.tasks]\necho = echo_plugin:EchoTask\nshine = echo_plugin:ShineTask\n"


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Return a command line whose database is provisioned and whose broker is away."""
    plugins = tmp_path / "plugins"
    information = plugins / "echo_plugin-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: echo-plugin\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    shutil.copy(Path(__file__).parent / "support" / "echo_plugin.py", plugins)
    monkeypatch.syspath_prepend(plugins)
    # a process keeps the modules that it found; another test found none of these
    modules.cache_clear()
    url = provision(tmp_path / "jobs.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKER_DATABASE_URL", url)
    monkeypatch.setenv("WORKER_BROKER_URL", "amqp://guest:guest@127.0.0.1:1/")
    monkeypatch.setenv("WORKER_SCRATCH", str(tmp_path / "scratch"))
    return CommandLine(tmp_path, url, plugins, capsys)
