"""What cannot run here is at least consistent: each setting, command, port, queue and grace in it exists and fits."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest
import yaml

from worker.core.routing import LANES, queues_of
from worker.core.topology import topology
from worker.settings import Settings
from worker.web.server import END_SECONDS

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "infra/systemd/leveret-worker@.service"
PAGE_UNIT = ROOT / "infra/systemd/leveret-page.service"
DOCUMENTS = [
    document
    for path in sorted((ROOT / "infra/kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]
KNOWN = {f"WORKER_{name.upper()}" for name in Settings.model_fields}
COMMANDS = {("python", "-m", "worker"), ("python", "-m", "worker", "serve"), ("python", "-m", "infra", "provision")}


PAGE = "leveret-page"


def one(kind: str, name: str = ""):
    """Return the one document of a kind: the page's own is named."""
    same = [document for document in DOCUMENTS if document["kind"] == kind]
    (found,) = [
        item for item in same if (item["metadata"]["name"] == name if name else item["metadata"]["name"] != PAGE)
    ]
    return found


def containers():
    return [one(kind)["spec"]["template"]["spec"]["containers"][0] for kind in ("Deployment", "Job")]


@pytest.fixture
def unit():
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(UNIT)
    return parser


def test_every_setting_that_they_name_exists():
    for path in (UNIT, PAGE_UNIT, *(ROOT / "infra/kubernetes").glob("*.yaml"), ROOT / "infra/prometheus/alerts.yaml"):
        named = set(re.findall(r"WORKER_[A-Z_]*[A-Z]", path.read_text()))
        assert named
        assert named <= KNOWN, path.name


def test_the_settings_of_the_config_map_can_be_read():
    data = one("ConfigMap")["data"]
    fields = {name.removeprefix("WORKER_").lower(): value for name, value in data.items()}
    assert Settings(_env_file=None, **fields).grace_seconds == 14400


def test_the_containers_run_commands_that_exist_with_the_settings_and_the_secret():
    for container in containers():
        assert tuple(container["command"]) in COMMANDS
        sources = [next(iter(source.values()))["name"] for source in container["envFrom"]]
        assert sources == [one("ConfigMap")["metadata"]["name"], "leveret"]


def test_the_pod_runs_as_the_user_of_the_image_and_writes_only_where_it_may():
    dockerfile = (ROOT / "infra/docker/Dockerfile").read_text()
    spec = one("Deployment")["spec"]["template"]["spec"]
    assert f"--uid {spec['securityContext']['runAsUser']} " in dockerfile
    (mount,) = spec["containers"][0]["volumeMounts"]
    assert mount["mountPath"] == one("ConfigMap")["data"]["WORKER_SCRATCH"]
    assert mount["mountPath"] in dockerfile
    assert {volume["name"] for volume in spec["volumes"]} == {mount["name"]}


def test_the_grace_outlasts_the_worker_s_own_everywhere(unit):
    grace = int(one("ConfigMap")["data"]["WORKER_GRACE_SECONDS"])
    assert grace < one("Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] <= grace + 300
    default = Settings.model_fields["grace_seconds"].default
    assert default < int(unit["Service"]["TimeoutStopSec"]) <= default + 300


def test_the_ports_agree():
    container = containers()[0]
    (port,) = container["ports"]
    assert one("ConfigMap")["data"]["WORKER_METRICS_ADDRESS"].endswith(f":{port['containerPort']}")
    annotations = one("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(port["containerPort"])
    assert {container[probe]["httpGet"]["port"] for probe in ("readinessProbe", "livenessProbe")} == {port["name"]}


def test_the_scaler_watches_every_queue_of_the_lanes_that_the_workers_serve():
    scaled = one("ScaledObject")["spec"]
    lanes = tuple(one("ConfigMap")["data"]["WORKER_LANES"].split(","))
    assert set(lanes) <= set(LANES)
    watched = [trigger["metadata"]["queueName"] for trigger in scaled["triggers"]]
    assert sorted(watched) == sorted(queues_of(lanes))
    assert set(watched) <= {queue.name for queue in topology().queues}
    assert scaled["scaleTargetRef"]["name"] == one("Deployment")["metadata"]["name"]
    authentication = one("TriggerAuthentication")
    names = {trigger["authenticationRef"]["name"] for trigger in scaled["triggers"]}
    assert names == {authentication["metadata"]["name"]}
    (secret,) = authentication["spec"]["secretTargetRef"]
    assert (secret["name"], secret["key"]) == ("leveret", "WORKER_BROKER_URL")


def test_no_manifest_holds_a_secret():
    for path in (*(ROOT / "infra/kubernetes").glob("*.yaml"), UNIT, PAGE_UNIT):
        assert not re.search(r"://[^\s/]+:[^\s/]+@", path.read_text())
    assert "Secret" not in {document["kind"] for document in DOCUMENTS}


def test_the_selector_finds_the_pods():
    spec = one("Deployment")["spec"]
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_the_unit_starts_the_worker_and_leaves_the_ending_to_it(unit):
    service = unit["Service"]
    program, *rest = service["ExecStart"].split()
    assert ("python", *rest) in COMMANDS
    assert program == "/opt/leveret/bin/python"
    # `mixed`: SIGTERM to the worker alone, what is left after the time-out is killed.
    assert (service["KillMode"], service["KillSignal"]) == ("mixed", "SIGTERM")
    # A drained worker ends with 0 and is not started again.
    assert service["Restart"] == "on-failure"
    assert unit["Install"]["WantedBy"] == "multi-user.target"


def test_the_page_runs_as_the_workers_do_and_is_asked_whether_it_is_ready():
    spec = one("Deployment", PAGE)["spec"]
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert one("Service", PAGE)["spec"]["selector"] == spec["selector"]["matchLabels"]
    (container,) = spec["template"]["spec"]["containers"]
    assert tuple(container["command"]) in COMMANDS
    probes = {container[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")}
    assert probes == {"/readyz", "/healthz"}
    (port,) = container["ports"]
    address = next(item["value"] for item in container["env"] if item["name"] == "WORKER_SERVE_ADDRESS")
    assert address.endswith(f":{port['containerPort']}")


def test_the_page_s_unit_starts_the_page():
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(PAGE_UNIT)
    service = parser["Service"]
    program, *rest = service["ExecStart"].split()
    assert (program, ("python", *rest) in COMMANDS) == ("/opt/leveret/bin/python", True)
    assert int(service["TimeoutStopSec"]) > END_SECONDS


def test_the_pages_of_a_home_fleet_name_every_step():
    page = (ROOT / "docs/how-to/run-with-systemd.md").read_text()
    packages = re.search(r"apt-get install -y (.*)", page)[1].split()
    assert {"ffmpeg", "gource", "mkvtoolnix", "python3-venv"} <= set(packages)
    order = [page.index(step) for step in ("useradd", "-m infra clock", "-m infra provision", "systemctl enable --now")]
    assert order == sorted(order)
    assert "BindPaths=" in page
    assert "ProtectHome=yes" in UNIT.read_text()
    page = (ROOT / "docs/tutorial/two-machines.md").read_text()
    assert page.index("git clone") < page.index("infra/rabbitmq/rabbitmq.conf")
    assert re.findall(r"^host media media (\w+) +scram-sha-256$", page, re.MULTILINE) == ["anna", "ben"]
    assert "> passwords" in page
    assert "passwords" in (ROOT / ".gitignore").read_text().splitlines()
