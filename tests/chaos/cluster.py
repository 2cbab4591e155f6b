"""Three nodes of RabbitMQ on loopback that are one broker; each may be killed and started again."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from infra.local.ports import LOOPBACK, free_port
from infra.local.process import family_of, kill, release
from infra.local.rabbitmq import USER, RabbitMq, node_name
from infra.local.service import Launch
from infra.local.state import Record

if TYPE_CHECKING:
    from pathlib import Path

NODES = 3
PORTS = ("amqp", "management", "distribution")
POLL_SECONDS = 0.1


@dataclass
class BrokerCluster:
    """The nodes in `folder`, with one epmd, one cookie and one user; the others join the first when they start."""

    folder: Path
    launches: list[Launch] = field(default_factory=list)

    def __post_init__(self) -> None:
        shared, taken = Record(), set[int]()
        shared.secret("cookie")
        shared.secret("password")
        ports = [free_port(frozenset(taken))]
        for number in range(1, NODES + 1):
            record = Record(ports={"epmd": ports[0]}, secrets=dict(shared.secrets))
            for name in PORTS:
                taken |= set(ports)
                ports.append(free_port(frozenset(taken)))
                record.ports[name] = ports[-1]
            if self.launches:
                first = node_name(self.launches[0].record)
                record.options["rabbitmq_config"] = [
                    "cluster_formation.peer_discovery_backend = classic_config",
                    f"cluster_formation.classic_config.nodes.1 = {first}",
                ]
            folder = self.folder / f"node-{number}"
            folder.mkdir(parents=True, mode=0o700)
            self.launches.append(Launch(folder, record, save=lambda: None))

    @property
    def urls(self) -> tuple[str, ...]:
        """Return the nodes' URLs, the first to start first."""
        records = [launch.record for launch in self.launches]
        return tuple(
            f"amqp://{USER}:{record.secret('password')}@{LOOPBACK}:{record.ports['amqp']}/" for record in records
        )

    def up(self) -> None:
        """Start the nodes, and return when each knows all."""
        RabbitMq().start_names(self.launches[0])
        self.start(0)
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.start, range(1, NODES)))
        self._until(lambda: sum(node["running"] for node in self._ask("nodes")) == NODES, "all nodes run")

    def start(self, index: int) -> None:
        """Start one node."""
        RabbitMq().start_node(self.launches[index])

    def kill(self, index: int) -> None:
        """End one node as a power cut would."""
        launch = self.launches[index]
        identity = launch.record.processes.pop("rabbitmq")
        kill(family_of(identity))
        launch.children["rabbitmq"].wait()

    def leader(self, queue: str) -> int:
        """Return which node leads a quorum queue, once all its members are online."""
        names = [node_name(launch.record) for launch in self.launches]

        def asked() -> dict[str, Any]:
            return self._ask(f"queues/%2F/{queue}")

        self._until(
            lambda: len(asked().get("online", ())) == NODES and asked().get("leader") in names,
            "it is whole",
        )
        return names.index(asked()["leader"])

    def clients(self) -> set[str]:
        """Return the names of the connections to nodes that live."""
        living = {node_name(launch.record) for launch in self.launches if "rabbitmq" in launch.record.processes}
        asked = self._ask("connections") or ()
        return {str(one.get("user_provided_name", "")) for one in asked if one.get("node") in living}

    def down(self) -> None:
        """End all of it at once."""
        for launch in reversed(self.launches):
            for identity in launch.record.processes.values():
                kill(family_of(identity))
            for child in launch.children.values():
                release(child)

    def _ask(self, path: str) -> Any:
        """Return what a living node's management API says; nothing where none has anything to say."""
        for launch in self.launches:
            if "rabbitmq" not in launch.record.processes:
                continue
            address = f"http://{LOOPBACK}:{launch.record.ports['management']}/api/{path}"
            try:
                answer = httpx.get(address, auth=(USER, launch.record.secret("password")), timeout=5)
            except httpx.TransportError:
                continue
            if answer.status_code == httpx.codes.OK:
                return answer.json()
        return {}

    def _until(self, ready: Any, what: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the cluster did not come so far that {what}")
            time.sleep(POLL_SECONDS)
