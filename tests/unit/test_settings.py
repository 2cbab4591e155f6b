"""The environment, read once."""

from __future__ import annotations

import os

import pytest

from worker.core.errors import Misconfigured
from worker.settings import Settings, load, unknown_variables
from worker.settings.client import load_client


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("WORKER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("WORKER_LANES", "cpu,gpu", "'gpu' is no lane"),
        ("WORKER_RETRY_DELAYS", "30,-1", "between 0 and"),
        ("WORKER_RETRY_DELAYS", "soon", "WORKER_RETRY_DELAYS: 'soon' is no number"),
        ("WORKER_PATH_MAP", "/mnt/a", "WORKER_PATH_MAP: '/mnt/a' is no list of pairs: write /there=/here"),
        ("WORKER_SERVE_ADDRESS", "8080", "WORKER_SERVE_ADDRESS: '8080' is not well formed: write host:port"),
        ("WORKER_SERVE_ADDRESS", "a:99999", "WORKER_SERVE_ADDRESS: 'a:99999' has no such port"),
        ("WORKER_METRICS_ADDRESS", "9100", "WORKER_METRICS_ADDRESS: '9100' is not well formed: write host:port"),
        ("WORKER_UPLOAD_FOLDER", "../x", "WORKER_UPLOAD_FOLDER: '../x' is not well formed: write names of"),
        ("WORKER_SERVE_ROOT_PATH", "media", "WORKER_SERVE_ROOT_PATH: 'media' is not well formed: write /path"),
        ("WORKER_STORAGE_URL", "ftp://x", "WORKER_STORAGE_URL: it is no place: write file:///folder"),
        ("WORKER_STORAGE_URL", "nas://x", "WORKER_NAS_ROOT is not set"),
        ("WORKER_LEASE_SECONDS", "0", "WORKER_LEASE_SECONDS: '0' must be more than 0"),
        ("WORKER_LEASE_SECONDS", "abc", "WORKER_LEASE_SECONDS: 'abc' is no number"),
        ("WORKER_LEASE_SECONDS", "x" * 100, "WORKER_LEASE_SECONDS: it is no number"),
        ("WORKER_SCRATCH", "/srv/50%d", "read as a pattern"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(monkeypatch, name, value, word):
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=word) as caught:
        load()
    assert "\n" not in str(caught.value)


def test_lists_and_maps_are_comma_separated(monkeypatch):
    monkeypatch.setenv("WORKER_LANES", "visualize, cpu")
    monkeypatch.setenv("WORKER_RETRY_DELAYS", "1,2.5")
    monkeypatch.setenv("WORKER_PATH_MAP", "/mnt/phoenix=/srv/nas,/a=/b")
    settings = load()
    assert settings.lanes == ("visualize", "cpu")
    assert settings.retry_delays == (1.0, 2.5)
    assert settings.path_map == {"/mnt/phoenix": "/srv/nas", "/a": "/b"}


def test_a_dotenv_file_is_read(tmp_path):
    (tmp_path / ".env").write_text("WORKER_ID=from-the-file\n")
    assert load().id == "from-the-file"


def test_no_secret_is_shown(monkeypatch):
    monkeypatch.setenv("WORKER_BROKER_URL", "amqp://bob:hunter-two@h/")
    monkeypatch.setenv("WORKER_DATABASE_URL", "postgresql://bob:hunter-two@h/db")
    assert "hunter-two" not in repr(load())


def test_a_variable_that_is_no_setting_is_reported_with_the_nearest_one(monkeypatch, tmp_path):
    assert unknown_variables() == ()
    monkeypatch.setenv("WORKER_HEARTBEAT_SECOND", "3")
    (tmp_path / ".env").write_text("WORKER_LANE=cpu\nWORKER_NICE=5\nPOSTGRES_PASSWORD=x\n")
    assert unknown_variables() == (
        "WORKER_HEARTBEAT_SECOND is no setting; did you mean 'WORKER_HEARTBEAT_SECONDS'?",
        "WORKER_LANE is no setting; did you mean 'WORKER_LANES'?",
    )


def test_tokens_and_hosts_are_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("WORKER_SERVE_TOKENS", f"viewer:anna:{'0' * 64}, admin:bob:{'1' * 64}")
    monkeypatch.setenv("WORKER_SERVE_HOSTS", "Media.example, other")
    settings = load()
    assert settings.serve_tokens == (f"viewer:anna:{'0' * 64}", f"admin:bob:{'1' * 64}")
    assert settings.serve_hosts == ("media.example", "other")


def test_no_check_of_a_setting_hides_another_of_the_same_name():
    """A method of a subclass takes the place of its base's, and pydantic drops the check of the hidden one."""
    names = [
        name
        for base in Settings.__mro__
        if base.__module__.startswith("worker.settings")
        for name, value in vars(base).items()
        if isinstance(value, classmethod) or name in base.__pydantic_decorators__.field_validators
    ]
    assert sorted(names) == sorted(set(names))


def test_the_server_and_its_token_are_read_from_variables_of_their_own(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("LEVERET_SERVER=https://media.example/leveret/\nLEVERET_TOKEN=lvt_a\n")
    assert load_client().server == load().server == "https://media.example/leveret"
    assert load_client().token.get_secret_value() == "lvt_a"
    assert "lvt_a" not in repr(load())
    monkeypatch.setenv("WORKER_SERVER", "http://127.0.0.1:1")
    (warning,) = unknown_variables()
    assert warning.startswith("WORKER_SERVER is no setting")
