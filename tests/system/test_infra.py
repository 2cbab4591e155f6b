"""The private services, really started: by the command, in a state directory of their own."""

import contextlib
import http.client
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pika
import pika.exceptions
import psutil
import psycopg
import pytest
from botocore.exceptions import ClientError

from infra.local import LocalServices, ServiceError
from infra.local.process import Identity
from infra.migrations import head
from worker.core.topology import topology

ROOT = Path(__file__).resolve().parents[2]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("WORKER_", "AWS_", "RABBITMQ_"))}

pytestmark = pytest.mark.xdist_group("infra")


def infra(state, *words, **environment):
    """Run `python -m infra` beside nobody's `.env`."""
    return subprocess.run(
        (sys.executable, "-m", "infra", "--state", str(state), *words),
        cwd=state.parent,
        env=CLEAN | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    folder = tmp_path_factory.mktemp("infra") / "state"
    try:
        started = infra(folder, "up", "--with", "s3,postgres")
        assert started.returncode == 0, started.stderr
        yield folder
    finally:
        LocalServices(folder).down(purge=True)


@pytest.fixture
def services(state):
    return LocalServices(state)


@pytest.fixture
def environment(services):
    return services.environment()


def processes(services):
    found = [psutil.Process(service.pid) for service in services.status() if service.pid]
    return [member for process in found for member in (process, *process.children(recursive=True))]


def database(environment):
    return psycopg.connect(environment["WORKER_DATABASE_URL"], connect_timeout=2, autocommit=True)


def storage(environment, **wrong):
    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=wrong.get("secret", environment["AWS_SECRET_ACCESS_KEY"]),
    )


@contextlib.contextmanager
def channel(environment):
    with pika.BlockingConnection(pika.URLParameters(environment["WORKER_BROKER_URL"])) as connection:
        yield connection.channel()


def management(environment, path):
    url = urlsplit(environment["RABBITMQ_MANAGEMENT_URL"])
    client = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    credentials = b64encode(f"{url.username}:{url.password}".encode()).decode()
    with contextlib.closing(client):
        client.request("GET", path, headers={"Authorization": f"Basic {credentials}"})
        response = client.getresponse()
        return response.status, json.load(response)


def test_the_services_outlive_the_command_that_started_them(services):
    assert {service.name: service.running for service in services.status()} == {
        "rabbitmq": True,
        "s3": True,
        "postgres": True,
    }


def test_starting_again_starts_nothing(state, services):
    before = services.status()
    again = infra(state, "up", "--with", "s3")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("rabbitmq: runs already\ns3: runs already\n")
    assert services.status() == before


def test_nothing_listens_beyond_loopback(services):
    listening = {
        connection.laddr
        for process in processes(services)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {address.port for address in listening} >= {
        service.ports[name]
        for service in services.status()
        for name in ("amqp", "management", "s3", "postgres")
        if name in service.ports
    }
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_the_broker_has_its_management_and_shovel_plug_ins(environment):
    assert management(environment, "/api/whoami")[1]["tags"] == ["administrator"]
    assert management(environment, "/api/shovels") == (200, [])
    # The metrics' port is one for all nodes of a host: two private nodes would not start beside each other.
    listeners = {each["protocol"] for each in management(environment, "/api/overview")[1]["listeners"]}
    assert not any("prometheus" in protocol for protocol in listeners), listeners


def test_secrets_are_for_their_owner_and_for_nobody_else(state, environment):
    for name in ("state.json", "rabbitmq/rabbitmq.conf", "rabbitmq/.erlang.cookie"):
        assert (state / name).stat().st_mode & 0o077 == 0, name
    status = infra(state, "status")
    for name in ("WORKER_BROKER_URL", "WORKER_DATABASE_URL"):
        assert urlsplit(environment[name]).password not in status.stdout


def test_the_printed_environment_is_the_one_that_tests_get(state, environment):
    printed = infra(state, "env").stdout.splitlines()
    words = [shlex.split(line) for line in printed]
    assert all(len(line) == 2 and line[0] == "export" for line in words)
    assert dict(line[1].split("=", 1) for line in words) == environment


def test_wrong_credentials_are_refused_by_every_service(environment):
    guest = urlsplit(environment["WORKER_BROKER_URL"])
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        pika.BlockingConnection(pika.URLParameters(f"amqp://guest:guest@{guest.hostname}:{guest.port}/"))
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        storage(environment, secret="wrong").list_buckets()
    url = urlsplit(environment["WORKER_DATABASE_URL"])
    wrong = url._replace(netloc=url.netloc.replace(url.password, "wrong")).geturl()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong, connect_timeout=5)


def test_provisioning_makes_all_and_repeating_it_changes_nothing(state, environment):
    first = infra(state, "provision")
    assert first.returncode == 0, first.stderr
    with database(environment) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(head(),)]
    stands = {queue.name: dict(queue.arguments) for queue in topology().queues}
    declared = {queue["name"]: queue["arguments"] for queue in management(environment, "/api/queues")[1]}
    assert declared == stands
    storage(environment).put_object(Bucket="media", Key="kept", Body=b"kept")
    again = infra(state, "provision")
    assert again.stdout == first.stdout.replace("media made", "media is there")
    assert (again.returncode, again.stderr) == (0, "")


def test_a_queue_with_other_arguments_is_reported_with_the_difference_in_one_line(state, environment):
    with channel(environment) as broker:
        broker.queue_delete("media.qsv.low")
        broker.queue_declare("media.qsv.low", durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 5})
    asked = infra(state, "provision")
    # Without the management API, the broker's own refusal names the first difference.
    parsed = infra(
        state, "provision", WORKER_BROKER_URL=environment["WORKER_BROKER_URL"], WORKER_DATABASE_URL="sqlite:///x.db"
    )
    with channel(environment) as broker:
        broker.queue_delete("media.qsv.low")
    for result in (asked, parsed):
        assert result.returncode == 1
        assert result.stderr.count("\n") == 1
        assert result.stderr.startswith("error: queue media.qsv.low has other arguments (")
        assert "x-dead-letter-exchange: wanted media.dlx, there nothing" in result.stderr
    assert "x-delivery-limit: wanted 20, there 5" in asked.stderr
    assert infra(state, "provision").returncode == 0


@pytest.mark.parametrize(
    ("url", "fact"),
    [
        ("amqp://leveret:wrong@{address}/", "refuses the user or the password"),
        ("amqp://leveret:secret@127.0.0.1:1/", "no broker answers at 127.0.0.1:1 (Connection refused)"),
        ("amqp://leveret:secret@nowhere.invalid/", "no broker answers at nowhere.invalid:5672"),
        ("redis://127.0.0.1/", "must look like amqp://"),
    ],
)
def test_a_broker_that_cannot_be_used_is_one_line(state, services, url, fact):
    address = f"127.0.0.1:{services.status()[0].ports['amqp']}"
    result = infra(state, "provision", WORKER_BROKER_URL=url.format(address=address))
    assert result.returncode == 1
    assert fact in result.stderr
    assert result.stderr.count("\n") == 1
    assert "wrong" not in result.stderr
    assert "secret" not in result.stderr


def test_a_database_that_refuses_the_password_is_one_line(state, environment):
    url = urlsplit(environment["WORKER_DATABASE_URL"])
    wrong = url._replace(netloc=url.netloc.replace(url.password, "wrong-one")).geturl()
    result = infra(state, "provision", WORKER_DATABASE_URL=wrong)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "password" in result.stderr
    assert "wrong-one" not in result.stdout + result.stderr


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_a_service_that_ended_starts_where_it_was_with_what_it_held(state, services, environment, ending):
    # What `make run` does after every start: what stands is left as it is.
    assert infra(state, "provision").returncode == 0
    put_soon(services, environment, ending)
    with database(environment) as connection:
        connection.execute(f"CREATE TABLE {ending} (kept int)")
    for name in ("s3", "postgres"):
        getattr(services, ending)(name)
        assert name not in {service.name for service in services.status() if service.running}
    assert services.environment().keys() == {
        "WORKER_BROKER_URL", "RABBITMQ_MANAGEMENT_URL", "WORKER_BROKER_TIMEOUT_SECONDS",
    }  # fmt: skip
    assert services.up(("rabbitmq", "s3", "postgres")) == ("s3", "postgres")
    assert services.environment() == environment
    assert infra(state, "provision").returncode == 0
    assert storage(environment).get_object(Bucket="media", Key=ending)["Body"].read() == b"kept"
    with database(environment) as connection:
        assert connection.execute(f"TABLE {ending}").fetchall() == []


def put_soon(services, environment, key):
    """Store an object; a weed that has just begun again refuses what is written for a moment."""
    deadline = time.monotonic() + 60
    while True:
        try:
            storage(environment).put_object(Bucket="media", Key=key, Body=b"kept")
        except ClientError as error:
            if time.monotonic() > deadline:
                pytest.fail(f"{error}\n{services.log('s3').read_text()[-8000:]}")
            time.sleep(0.2)
        else:
            return


def test_a_paused_database_is_silent_until_it_is_resumed(services, environment):
    services.pause("postgres")
    try:
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            database(environment)
    finally:
        services.resume("postgres")
    with database(environment) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_two_state_directories_do_not_meet_and_leave_nothing_behind(services, tmp_path):
    other = LocalServices(tmp_path / "other")
    try:
        other.start("postgres")
        mine, theirs = services.status()[2], other.status()[0]
        assert mine.ports != theirs.ports
        assert mine.running
        family = processes(other)
    finally:
        assert other.down(purge=True) == ("postgres",)
    assert family
    assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == ["lock", "state.json"]
    assert services.status()[2].running


def test_a_broker_that_cannot_start_is_reported_in_one_line_with_its_last_words(tmp_path):
    services = LocalServices(tmp_path / "state", rabbitmq_config=("consumer_timeout = soon",))
    with pytest.raises(ServiceError, match="rabbitmq ended with exit code 1 while starting") as result:
        services.start("rabbitmq")
    assert str(services.log("rabbitmq")) in str(result.value)
    assert "\n" not in str(result.value)
    assert not services.status()[0].running
    assert not services.environment()
    # epmd, which had started, went down with it.
    with pytest.raises(ConnectionRefusedError), socket.socket() as client:
        client.connect(("127.0.0.1", services.status()[0].ports["epmd"]))


def test_a_start_that_was_cut_short_leaves_nothing_that_down_cannot_end(tmp_path):
    folder = tmp_path / "state"
    command = (sys.executable, "-m", "infra", "--state", str(folder), "up")
    services = LocalServices(folder)
    try:
        with subprocess.Popen(command, cwd=tmp_path, env=CLEAN | {"PYTHONPATH": str(ROOT)}) as start:
            deadline = time.monotonic() + 30
            while not (result := started(folder)) and time.monotonic() < deadline:
                time.sleep(0.05)
            start.kill()
        node = Identity.from_json(result["rabbitmq"])
        assert node.is_alive()
        assert not services.status()[0].running
    finally:
        services.down(purge=True)
    assert not node.is_alive()


def started(folder):
    """The processes of a broker that was spawned; empty before that."""
    with contextlib.suppress(FileNotFoundError, KeyError):
        result = json.loads((folder / "state.json").read_text())["services"]["rabbitmq"]["processes"]
        return result if "rabbitmq" in result else {}
    return {}


def test_a_pid_that_another_program_has_now_is_no_service_of_ours():
    mine = Identity.of(os.getpid())
    assert mine.is_alive()
    assert not Identity(mine.pid, mine.started_ticks - 1, mine.boot).is_alive()
    assert not Identity(mine.pid, mine.started_ticks, "an earlier boot").is_alive()


@pytest.mark.parametrize(
    ("words", "code", "fact"),
    [
        (("up", "--with", "postgress"), 2, "no such service: postgress"),
        (("up", "--port", "amqp"), 2, "'amqp' is not NAME=NUMBER"),
        (("up", "--port", "ampq=1"), 1, "no such port: ampq"),
        (("env",), 1, "nothing is running: run `python -m infra up`"),
        ((), 2, "required"),
    ],
)
def test_wrong_usage_is_reported_without_a_trace(tmp_path, words, code, fact):
    result = infra(tmp_path / "state", *words)
    assert result.returncode == code
    assert fact in result.stderr
    assert "Traceback" not in result.stderr
