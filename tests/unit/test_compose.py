"""No container engine runs here: what the container files name is checked against the tree and the tools."""

import fnmatch
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from infra.media import check_media
from worker.core.errors import Misconfigured
from worker.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "infra/docker/Dockerfile").read_text()
INSTRUCTIONS = [
    line.split(maxsplit=1) for line in re.sub(r"\\\n", " ", DOCKERFILE).splitlines() if re.match(r"[A-Z]+ ", line)
]
OURS = {name for name, service in SERVICES.items() if service.get("image") == "leveret:local"}
PYTHON_COMMANDS = [
    pytest.param(command, id=f"{name}:{kind}")
    for name, service in SERVICES.items()
    for kind, command in (("command", service.get("command")), ("health", service.get("healthcheck", {}).get("test")))
    if command and "python" in command and "-m" in command
]


def filled(text):
    return re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", re.sub(r"\$\{\w+:\?[^}]*\}", "secret", text))


def mounts(service):
    return [filled(mount).removesuffix(":ro") for mount in SERVICES[service].get("volumes", [])]


def targets(service):
    return {mount.rsplit(":", 1)[-1] for mount in mounts(service)}


def test_every_worker_variable_is_a_setting():
    names = {name.removeprefix("WORKER_").lower() for name in COMPOSE["x-settings"] if name.startswith("WORKER_")}
    assert names
    assert names <= set(Settings.model_fields)


def test_the_settings_of_the_worker_load(monkeypatch):
    for name, value in SERVICES["worker"]["environment"].items():
        monkeypatch.setenv(name, filled(value))
    settings = Settings(_env_file=None)
    assert settings.storage_url == "s3://media/"
    assert str(settings.nas_root) in targets("worker")
    assert str(settings.scratch) in targets("worker")
    assert settings.grace_seconds < int(SERVICES["worker"]["stop_grace_period"].removesuffix("s"))


@pytest.mark.parametrize("command", PYTHON_COMMANDS)
def test_every_python_command_is_understood(command):
    words = command[1:] if command[0] == "CMD" else command
    assert words[0] == "python"
    done = subprocess.run(
        (sys.executable, *words[1:], "--help"), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_the_s3_server_knows_every_option_that_it_is_given():
    program, command, *options = SERVICES["s3"]["command"]
    listing = subprocess.run(
        (str(Path(sys.executable).parent / program), "help", command),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    known = set(re.findall(r"^\s+-([\w.]+)", listing.stdout + listing.stderr, re.MULTILINE))
    assert options
    assert {option.lstrip("-").partition("=")[0] for option in options} <= known


@pytest.mark.parametrize(
    ("variable", "service", "own_port"),
    [
        ("WORKER_BROKER_URL", "rabbitmq", None),
        ("WORKER_DATABASE_URL", "postgres", 5432),
        ("AWS_ENDPOINT_URL_S3", "s3", None),
    ],
)
def test_every_address_leads_to_a_service_and_its_port(variable, service, own_port):
    url = urlsplit(filled(COMPOSE["x-settings"][variable]))
    assert url.hostname == service
    assert url.port in {own_port, *(int(port.rsplit(":", 1)[-1]) for port in SERVICES[service].get("ports", []))}
    assert service != "s3" or f"-s3.port={url.port}" in SERVICES["s3"]["command"]


def test_users_and_databases_agree():
    broker = urlsplit(filled(COMPOSE["x-settings"]["WORKER_BROKER_URL"]))
    database = urlsplit(filled(COMPOSE["x-settings"]["WORKER_DATABASE_URL"]))
    postgres = SERVICES["postgres"]["environment"]
    assert broker.username == SERVICES["rabbitmq"]["environment"]["RABBITMQ_DEFAULT_USER"]
    assert (database.username, database.path[1:]) == (postgres["POSTGRES_USER"], postgres["POSTGRES_DB"])


def test_ports_are_published_on_loopback_only():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_worker_can_be_scaled():
    assert not {"container_name", "ports", "hostname"} & SERVICES["worker"].keys()


def test_every_mounted_file_exists_and_every_volume_is_declared():
    sources = [mount.rpartition(":")[0] for service in SERVICES for mount in mounts(service) if ":" in mount]
    assert "media" in sources
    for source in sources:
        assert (ROOT / source).is_file() if source.startswith("./") else source in COMPOSE["volumes"], source


def test_every_dependency_is_a_service_with_what_is_waited_for():
    waited = [pair for service in SERVICES.values() for pair in service.get("depends_on", {}).items()]
    assert waited
    for name, how in waited:
        if how["condition"] == "service_healthy":
            assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
        else:
            assert how["condition"] == "service_completed_successfully"
            assert SERVICES[name]["restart"] == "no"


def test_every_service_that_stays_has_a_health_check():
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == {"provision"}


def test_every_secret_comes_from_the_environment_and_is_demanded():
    secrets = set(re.findall(r"\$\{(\w*(?:PASSWORD|KEY|TOKENS)\w*)", TEXT))
    demanded = set(re.findall(r"\$\{(\w+):\?", TEXT))
    assert secrets == demanded
    values = [
        value
        for service in SERVICES.values()
        for name, value in service.get("environment", {}).items()
        if re.search(r"PASS|SECRET|ACCESS_KEY", name)
    ]
    assert values
    assert all(filled(value) == "secret" for value in values)
    # The head of the file makes a .env of exactly the names that the file demands.
    made = set(re.search(r"for name in ([\w ]+); do", TEXT)[1].split()) | {re.search(r'echo "(\w+)=admin', TEXT)[1]}
    # The token itself is for the person: only its hash goes to the page.
    assert made == demanded | {"PAGE_TOKEN"}


def test_the_broker_loads_plug_ins_that_exist():
    plugins = set(re.findall(r"\w+", (ROOT / "infra/rabbitmq/enabled_plugins").read_text()))
    installed = {path.name.rpartition("-")[0] for path in Path("/usr/lib/rabbitmq/lib").glob("*/plugins/*")}
    # Our list takes the place of the image's own, which has the last one.
    wanted = {"rabbitmq_management", "rabbitmq_shovel", "rabbitmq_shovel_management", "rabbitmq_prometheus"}
    assert wanted <= plugins <= installed


def test_the_broker_waits_two_days_for_an_acknowledgement():
    assert "consumer_timeout = 172800000" in (ROOT / "infra/rabbitmq/rabbitmq.conf").read_text().splitlines()
    assert COMPOSE["x-settings"]["WORKER_BROKER_TIMEOUT_SECONDS"] == "172800"


def test_the_image_copies_what_exists_and_what_dockerignore_lets_through():
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    copied = [
        source
        for name, rest in INSTRUCTIONS
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert {"worker", "infra", "visualizers", "requirements.txt", "pyproject.toml"} <= set(copied)
    assert rules[0] == "*"
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(rule.startswith("!") and fnmatch.fnmatch(source, rule[1:]) for rule in rules), source


def test_the_image_does_not_run_as_root():
    users = [rest for name, rest in INSTRUCTIONS if name == "USER"]
    assert users == ["leveret"]
    assert re.search(r"useradd --uid 10001 .* leveret ", DOCKERFILE)


def test_the_folders_that_our_containers_mount_belong_to_their_user():
    made = " ".join(re.findall(r"install -d -o leveret -g leveret (.*)", DOCKERFILE)).split()
    mounted = set().union(*(targets(service) for service in OURS))
    assert mounted
    assert mounted <= set(made)


def test_the_image_installs_packages_that_the_setup_knows():
    installed = re.search(r"--no-install-recommends (.*?) \\", DOCKERFILE)[1].split()
    wanted = re.findall(r"wanted\+?=\(([^)]*)\)", (ROOT / "infra/setup").read_text())
    assert {"ffmpeg", "git"} <= set(installed) <= set(" ".join(wanted).split())


def test_one_service_builds_the_image_and_the_others_use_it():
    assert [name for name, service in SERVICES.items() if "build" in service] == ["provision"]
    assert {"provision", "worker", "page", "s3"} == OURS
    assert all(SERVICES[name]["pull_policy"] == "never" for name in OURS)


def test_the_owner_of_the_media_runs_the_services_that_touch_them():
    touching = {name for name in SERVICES if "/srv/media" in targets(name)}
    assert touching == {"provision", "worker", "page"}
    assert {SERVICES[name]["user"] for name in touching} == {"${PUID:-10001}:${PGID:-10001}"}
    # Such a user may be none that the image knows: scratch is open to it.
    assert re.search(r"install -d [^\n]*-m 1777 /srv/scratch", DOCKERFILE)


def test_outputs_may_go_into_the_media_folder(monkeypatch):
    assert SERVICES["worker"]["environment"]["WORKER_STORAGE_URL"].startswith("${WORKER_STORAGE_URL:-")
    for name, value in (SERVICES["worker"]["environment"] | {"WORKER_STORAGE_URL": "nas://library"}).items():
        monkeypatch.setenv(name, filled(value))
    assert Settings(_env_file=None).storage_url == "nas://library/"


def test_no_volume_is_without_a_name():
    assert [mount for name in SERVICES for mount in mounts(name) if ":" not in mount] == []
    assert "scratch:/srv/scratch" in mounts("worker")


def test_a_media_folder_that_cannot_be_used_is_reported_with_what_to_do(tmp_path, monkeypatch):
    assert f"media {tmp_path}: user " in check_media(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Misconfigured, match="MEDIA_FOLDER in"):
        check_media(tmp_path / "films")

    def refused(*_words):
        raise PermissionError(13, "Permission denied")

    # Whoever runs tests as root may write everywhere.
    monkeypatch.setattr("os.open", refused)
    mine = f"{os.getuid()}:{os.getgid()}"
    with pytest.raises(Misconfigured) as caught:
        check_media(tmp_path)
    assert f"user {mine} cannot use it (Permission denied); it belongs to {mine}, mode 700" in str(caught.value)
    assert f"set PUID={os.getuid()} and PGID={os.getgid()} in .env" in str(caught.value)
