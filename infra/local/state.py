"""The state of the private services between two commands."""

import contextlib
import fcntl
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.local.errors import ServiceError
from infra.local.process import Identity


@dataclass(slots=True)
class Record:
    """One service: what it was given for good (ports, secrets, options), and its processes if it was started."""

    ports: dict[str, int] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    processes: dict[str, Identity] = field(default_factory=dict)
    ready: bool = False
    """A start that came to its end: a half-started service is started anew."""

    def secret(self, name: str, length_bytes: int = 18) -> str:
        """The secret of this name, made at the first request; letters and digits only."""
        return self.secrets.setdefault(name, secrets.token_hex(length_bytes))

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "ports": self.ports,
            "secrets": self.secrets,
            "options": self.options,
            "ready": self.ready,
            "processes": {name: identity.to_json() for name, identity in self.processes.items()},
        }


class StateFile:
    """`state.json` of a state directory: readable by its owner only, replaced whole, changed under a lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "state.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes the state meanwhile; creates the directory."""
        try:
            # Others may pass through: PostgreSQL refuses to run as root and its user must reach its data.
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o711)
            lock = (self.folder / "lock").open("w")
        except OSError as error:
            raise ServiceError(f"cannot write the state directory {self.folder}: {error.strerror}") from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def read(self) -> dict[str, Record]:
        """The records by service name; empty where nothing was ever started."""
        try:
            document = json.loads(self._path.read_text())
            return {name: _record(entry) for name, entry in document["services"].items()}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ServiceError(f"cannot read {self._path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ServiceError(
                f"{self._path} is damaged ({error}): end what still runs from it and remove {self.folder}"
            ) from error

    def write(self, records: dict[str, Record]) -> None:
        """Replaces the records."""
        document = {"services": {name: record.to_json() for name, record in records.items()}}
        draft = self._path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(document, indent=2) + "\n")
        draft.replace(self._path)


def _record(entry: dict[str, Any]) -> Record:
    return Record(
        ports={name: int(port) for name, port in entry["ports"].items()},
        secrets=dict(entry["secrets"]),
        options=dict(entry["options"]),
        ready=bool(entry["ready"]),
        processes={name: Identity.from_json(value) for name, value in entry["processes"].items()},
    )
