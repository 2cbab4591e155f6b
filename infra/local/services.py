"""The private services of one state directory: started, found again, ended."""

import shutil
import signal
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.local.errors import NotInstalled, ServiceError
from infra.local.ports import free_port, is_free, reserve
from infra.local.postgres import Postgres
from infra.local.process import Identity, end, family_of, kill, release, send
from infra.local.rabbitmq import RabbitMq, control
from infra.local.s3 import S3
from infra.local.service import Launch, Service
from infra.local.state import Record, StateFile

_ALL: tuple[Service, ...] = (RabbitMq(), S3(), Postgres())
SERVICES: Mapping[str, Service] = {service.name: service for service in _ALL}


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service as it is now."""

    name: str
    running: bool
    pid: int | None
    ports: Mapping[str, int]
    summary: str


class LocalServices:
    """RabbitMQ, S3 and PostgreSQL of one state directory.

    A port that `ports` names (`amqp`, `management`, `s3`, `postgres`, …) is used; the others are free ones,
    remembered, so that a restart keeps them. `rabbitmq_config` are lines that override the node's
    `rabbitmq.conf`; they count when the node starts. All methods block, and may be called by several
    processes at once. Every failure is a ServiceError of one line.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ports: Mapping[str, int] | None = None,
        rabbitmq_config: Collection[str] = (),
    ) -> None:
        known = {name for service in SERVICES.values() for name in service.ports}
        unknown = sorted(set(ports or {}) - known)
        if unknown:
            raise ServiceError(f"no such port: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        self.folder = folder.resolve()
        self._state = StateFile(self.folder)
        self._given_ports = dict(ports or {})
        self._rabbitmq_config = list(rabbitmq_config)

    def check(self, names: Collection[str]) -> None:
        """Raises one NotInstalled for all programs that the named services lack; starts nothing."""
        lacking: list[NotInstalled] = []
        for name in names:
            try:
                _service(name).check()
            except NotInstalled as error:
                lacking.append(error)
        if lacking:
            raise NotInstalled.all_of(lacking)

    def up(self, names: Collection[str] = ("rabbitmq",)) -> tuple[str, ...]:
        """The names of the services that this call started; those that run already are left as they are."""
        wanted = [_service(name) for name in names]
        with self._state.locked():
            records = self._state.read()
            return tuple(service.name for service in wanted if self._start(service, records))

    def start(self, name: str) -> None:
        """Starts one service, as it was before if it ran before."""
        self.up((name,))

    def stop(self, name: str) -> None:
        """Ends one service in order; its data and ports stay."""
        self._end(name, orderly=True)

    def kill(self, name: str) -> None:
        """Ends one service with SIGKILL, as a crash or the kernel's memory killer would."""
        self._end(name, orderly=False)

    def pause(self, name: str) -> None:
        """Stops the service's processes where they are: connections stay open and nothing answers."""
        for member in self._members(name):
            send(member, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Lets a paused service go on."""
        for member in self._members(name):
            send(member, signal.SIGCONT)

    def down(self, *, purge: bool = False) -> tuple[str, ...]:
        """The names of the services that this call ended; with `purge` at once, and their data is removed."""
        with self._state.locked():
            records = self._state.read()
            ended = tuple(name for name in reversed(list(SERVICES)) if name in records and _runs(records[name]))
            for name in reversed(list(SERVICES)):
                if name in records:
                    self._end_record(name, records[name], orderly=not purge)
            if purge:
                for name, record in records.items():
                    SERVICES[name].purge(record)
                    shutil.rmtree(self.folder / name, ignore_errors=True)
                records = {}
            self._state.write(records)
        return ended

    def status(self) -> tuple[ServiceStatus, ...]:
        """Every service that was ever started here, as it is now."""
        records = self._state.read()
        return tuple(
            ServiceStatus(
                name=name,
                running=_runs(records[name]),
                pid=records[name].processes[service.parts[-1]].pid if _runs(records[name]) else None,
                ports=dict(records[name].ports),
                summary=service.summary(records[name]),
            )
            for name, service in SERVICES.items()
            if name in records
        )

    def environment(self, only: str | None = None) -> dict[str, str]:
        """The variables that lead the worker to the services that run, or to that one of them."""
        records = self._state.read()
        found: dict[str, str] = {}
        for name, service in SERVICES.items():
            if only in {None, name} and name in records and _runs(records[name]):
                found |= service.environment(records[name])
        return found

    def rabbitmqctl(self, *words: str) -> str:
        """Run a command of the private broker's own tool, as tests do that raise its alarms; return what it printed."""
        return control(self.folder / "rabbitmq", self._state.read()["rabbitmq"], *words)

    def log(self, name: str) -> Path:
        """Return the file that the service logs to."""
        return self.folder / name / f"{_service(name).parts[-1]}.log"

    def _start(self, service: Service, records: dict[str, Record]) -> bool:
        record = records.setdefault(service.name, Record())
        if _runs(record):
            return False
        # A half of it may be left: epmd after the node was killed, or after a start that failed.
        self._end_record(service.name, record, orderly=False)
        if service.name == "rabbitmq" and self._rabbitmq_config:
            record.options["rabbitmq_config"] = self._rabbitmq_config
        for last in (False, False, True):
            self._assign_ports(service, records)
            try:
                self._launch(service, records)
            except ServiceError:
                # Another program took a port before the server listened there.
                if last or all(is_free(port) for port in record.ports.values()):
                    raise
            else:
                break
        return True

    def _launch(self, service: Service, records: dict[str, Record]) -> None:
        record = records[service.name]
        folder = self.folder / service.name
        folder.mkdir(mode=0o700, exist_ok=True)
        launch = Launch(folder, record, save=lambda: self._state.write(records))
        try:
            service.start(launch)
            record.ready = True
        except BaseException:
            # Ctrl-C too: nothing that no state file knows may stay behind.
            self._end_record(service.name, record, orderly=False)
            raise
        finally:
            for child in launch.children.values():
                release(child)
            self._state.write(records)

    def _assign_ports(self, service: Service, records: dict[str, Record]) -> None:
        ports = records[service.name].ports
        for name in service.ports:
            given = self._given_ports.get(name)
            if given is not None:
                if not is_free(given):
                    raise ServiceError(f"port {given} ({name}) is in use: end what listens there or give another")
                ports[name] = given
            elif name not in ports or not is_free(ports[name]):
                taken = frozenset(port for record in records.values() for port in record.ports.values())
                ports[name] = free_port(taken | frozenset(self._given_ports.values()))
            else:
                reserve(ports[name])

    def _end(self, name: str, *, orderly: bool) -> None:
        _service(name)
        with self._state.locked():
            records = self._state.read()
            if name in records:
                self._end_record(name, records[name], orderly=orderly)
                self._state.write(records)

    def _end_record(self, name: str, record: Record, *, orderly: bool) -> None:
        service = SERVICES[name]
        record.ready = False
        for part in reversed(service.parts):
            identity = record.processes.pop(part, None)
            if identity is None:
                continue
            if orderly:
                end(identity, service.stop_signal, service.grace_seconds)
            else:
                kill(family_of(identity))
        service.sweep(record)

    def _members(self, name: str) -> tuple[Identity, ...]:
        record = self._state.read().get(_service(name).name)
        if record is None or not _runs(record):
            raise ServiceError(f"{name} is not running: run `python -m infra up --with {name}`")
        return tuple(member for identity in record.processes.values() for member in family_of(identity))


def _service(name: str) -> Service:
    if name not in SERVICES:
        raise ServiceError(f"no such service: {name}; there are {', '.join(SERVICES)}")
    return SERVICES[name]


def _runs(record: Record) -> bool:
    return record.ready and all(identity.is_alive() for identity in record.processes.values())
