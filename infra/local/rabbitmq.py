"""A private RabbitMQ node with its own epmd, cookie, database, plug-ins and credentials."""

import http.client
import shutil
import signal
import socket
import subprocess
from base64 import b64encode
from pathlib import Path

from infra.local.errors import NotInstalled, ServiceError
from infra.local.ports import LOOPBACK
from infra.local.service import Launch, inherited
from infra.local.state import Record

# What is true of every broker of ours is in these files; the containers mount them.
SHARED = Path(__file__).resolve().parent.parent / "rabbitmq"
USER = "leveret"
TIMEOUT = "WORKER_BROKER_TIMEOUT_SECONDS"
TIMEOUT_KEY = "consumer_timeout"
START_SECONDS = 90.0

# Debian's wrapper in /usr/sbin changes to the user rabbitmq and to the system's folders; the script
# behind it runs as whoever calls it.
SCRIPTS = (Path("/usr/lib/rabbitmq/bin/rabbitmq-server"), Path("/opt/rabbitmq/sbin/rabbitmq-server"))

CONFIGURATION = """\
listeners.tcp.local = {host}:{amqp}
management.tcp.ip = {host}
management.tcp.port = {management}
default_user = {user}
default_pass = {password}
log.console = true
log.console.level = info
log.file = false
"""

# Two schedulers that sleep instead of spinning: a private node shares the machine with encoders.
EMULATOR = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"


class RabbitMq:
    """The broker, with the management UI and the shovel plug-ins."""

    name = "rabbitmq"
    ports: tuple[str, ...] = ("amqp", "management", "distribution", "epmd")
    parts: tuple[str, ...] = ("epmd", "rabbitmq")
    # A node without clients takes six seconds.
    stop_signal = signal.SIGTERM
    grace_seconds = 30.0

    def check(self) -> None:
        """Raises NotInstalled when a program is missing."""
        _server_script()
        _epmd()

    def start(self, launch: Launch) -> None:
        """Starts epmd and the node; returns when AMQP and the management API answer."""
        self.start_names(launch)
        self.start_node(launch)

    def start_names(self, launch: Launch) -> None:
        """Starts an epmd of our own, where nodes find each other; returns when it answers."""
        # Erlang would start a shared one on port 4369, which outlives every node.
        environment = _environment(launch.folder, launch.record)
        launch.spawn("epmd", (_epmd(), "-address", LOOPBACK), environment)
        launch.wait("epmd", lambda: _listens(launch.record.ports["epmd"]), seconds=10)

    def start_node(self, launch: Launch) -> None:
        """Starts a node beside an epmd that runs; returns when AMQP and the management API answer."""
        record, folder = launch.record, launch.folder
        cookie = folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(record.secret("cookie"))
            cookie.chmod(0o400)
        _write_configuration(folder, record)
        environment = _environment(folder, record)
        launch.spawn("rabbitmq", (str(_server_script()),), environment)
        launch.wait("rabbitmq", lambda: _speaks_amqp(record.ports["amqp"]), START_SECONDS)
        launch.wait("rabbitmq", lambda: _management_answers(record), START_SECONDS)

    def environment(self, record: Record) -> dict[str, str]:
        """The broker's URL, that of its management API with the same credentials, and how patient it is."""
        credentials = f"{USER}:{record.secret('password')}"
        return {
            "WORKER_BROKER_URL": f"amqp://{credentials}@{LOOPBACK}:{record.ports['amqp']}/",
            "RABBITMQ_MANAGEMENT_URL": f"http://{credentials}@{LOOPBACK}:{record.ports['management']}/",
            TIMEOUT: f"{_timeout_milliseconds(record) / 1000:g}",
        }

    def summary(self, record: Record) -> str:
        """The addresses of AMQP and of the management UI."""
        return (
            f"amqp://{LOOPBACK}:{record.ports['amqp']}/ · "
            f"management UI http://{LOOPBACK}:{record.ports['management']}/ (user {USER}, password: `env`)"
        )

    def sweep(self, record: Record) -> None:
        """Nothing: the node leaves nothing outside its folder."""

    def purge(self, record: Record) -> None:
        """Nothing: all of it is in its folder."""


def _server_script() -> Path:
    found = [script for script in SCRIPTS if script.exists()]
    if found:
        return found[0]
    on_path = shutil.which("rabbitmq-server")
    if on_path is None:
        raise NotInstalled("rabbitmq-server", packages=("rabbitmq-server",))
    return Path(on_path).resolve()


def _epmd() -> str:
    found = shutil.which("epmd")
    if found is not None:
        return found
    bundled = sorted(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"))
    if not bundled:
        raise NotInstalled("epmd", packages=("erlang-base",))
    return str(bundled[-1])


def _timeout_milliseconds(record: Record) -> int:
    """Return after how long the node takes back what is not acknowledged."""
    lines = [*(SHARED / "rabbitmq.conf").read_text().splitlines(), *record.options.get("rabbitmq_config", [])]
    values = [
        value.strip() for name, _, value in (line.partition("=") for line in lines) if name.strip() == TIMEOUT_KEY
    ]
    return int(next(value for value in reversed(values) if value.isdigit()))


def _write_configuration(folder: Path, record: Record) -> None:
    extra = record.options.get("rabbitmq_config", [])
    text = CONFIGURATION.format(host=LOOPBACK, user=USER, password=record.secret("password"), **record.ports)
    # Later lines win, so a test may set its own time-outs.
    shared = (SHARED / "rabbitmq.conf").read_text()
    shared_lines = (line for line in shared.splitlines() if line and not line.startswith("#"))
    lines = [*text.splitlines(), *shared_lines, *extra]
    names = [line.partition("=")[0].strip() for line in lines]
    kept = [line for place, line in enumerate(lines) if names[place] not in names[place + 1 :]]
    configuration = folder / "rabbitmq.conf"
    configuration.touch(mode=0o600)
    configuration.write_text("\n".join(kept) + "\n")
    # Nobody reads a private node's metrics, and their port is one for all nodes of a host, open to every address.
    plugins = (SHARED / "enabled_plugins").read_text().replace("rabbitmq_prometheus,", "")
    (folder / "enabled_plugins").write_text(plugins)
    # The system's own additions in /etc/rabbitmq/conf.d are not for this node.
    (folder / "conf.d").mkdir(exist_ok=True)


def node_name(record: Record) -> str:
    """Return the name of the Erlang node."""
    return f"leveret-{record.secret('node', 4)}@localhost"


def control(folder: Path, record: Record, *words: str) -> str:
    """Run `rabbitmqctl` against a node of ours; return what it printed."""
    script = _server_script().with_name("rabbitmqctl")
    answer = subprocess.run(
        (str(script), "--node", node_name(record), *words),
        env=_environment(folder, record),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if answer.returncode:
        raise ServiceError(f"rabbitmqctl {words[0]}: {answer.stderr.strip()[-300:]}")
    return answer.stdout


def _environment(folder: Path, record: Record) -> dict[str, str]:
    return inherited(folder) | {
        "ERL_EPMD_PORT": str(record.ports["epmd"]),
        "ERL_EPMD_ADDRESS": LOOPBACK,
        "RABBITMQ_NODENAME": node_name(record),
        "RABBITMQ_DIST_PORT": str(record.ports["distribution"]),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "no-rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_CONFIG_FILES": str(folder / "conf.d"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "no-advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "rabbitmq.pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": EMULATOR,
        # Makes the script become the Erlang machine instead of waiting for it in a shell, so that the pid
        # that we know is the node's and SIGTERM stops it in order.
        "RUNNING_UNDER_SYSTEMD": "true",
    }


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


def _speaks_amqp(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=5) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            # A method frame (type 1) on channel 0: connection.start. A node that still boots closes.
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


def _management_answers(record: Record) -> bool:
    client = http.client.HTTPConnection(LOOPBACK, record.ports["management"], timeout=5)
    credentials = b64encode(f"{USER}:{record.secret('password')}".encode()).decode()
    try:
        client.request("GET", "/api/whoami", headers={"Authorization": f"Basic {credentials}"})
        status = client.getresponse().status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        client.close()
    if status == http.client.UNAUTHORIZED:
        raise ServiceError(
            f"rabbitmq refuses the user {USER} of state.json: its data is another's; run `python -m infra down --purge`"
        )
    return status == http.client.OK
