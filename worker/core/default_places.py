"""The default places of the database and the outputs: in the user's own folders, wherever a command is typed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "leveret"


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of the database: `$XDG_STATE_HOME/leveret`, by default below `~/.local/state`."""
    return _below(environment, "XDG_STATE_HOME", ".local/state")


def data_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of outputs: `$XDG_DATA_HOME/leveret`, by default below `~/.local/share`."""
    return _below(environment, "XDG_DATA_HOME", ".local/share")


def database_path(environment: Mapping[str, str]) -> Path:
    """Return the file of the database that is used where WORKER_DATABASE_URL is not set."""
    return state_folder(environment) / "leveret.db"


def database_url(environment: Mapping[str, str]) -> str:
    """Return the database that is used where WORKER_DATABASE_URL is not set."""
    return f"sqlite:///{database_path(environment)}"


def storage_url(environment: Mapping[str, str]) -> str:
    """Return the storage that is used where WORKER_STORAGE_URL is not set."""
    return f"file://{data_folder(environment) / 'storage'}/"


def _below(environment: Mapping[str, str], variable: str, usual: str) -> Path:
    """Return the folder that a variable of the XDG base directories names; one that is not absolute counts as unset."""
    stated = environment.get(variable, "")
    base = Path(stated) if stated.startswith("/") else _home(environment) / usual
    return base / NAME


def _home(environment: Mapping[str, str]) -> Path:
    try:
        return Path(environment.get("HOME") or Path.home())
    except RuntimeError:
        # A user id without an account and without HOME, as in a container, has what container engines give it.
        return Path("/")
