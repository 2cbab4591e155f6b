"""The environment, read once, as one frozen value. The only package that looks at it."""

from __future__ import annotations

import os
from typing import Any

from pydantic import ValidationError
from pydantic_settings import DotEnvSettingsSource, SettingsConfigDict

from worker.core.errors import Misconfigured
from worker.core.hints import nearest
from worker.settings.client import ClientSettings
from worker.settings.serve import ServeSettings
from worker.settings.shared import SharedSettings
from worker.settings.wording import complaints
from worker.settings.worker import WorkerSettings


class Settings(WorkerSettings, SharedSettings, ServeSettings, ClientSettings):
    """Every setting of a worker, of its commands and of the page: `WORKER_<NAME>` in the environment or in `.env`."""

    model_config = SettingsConfigDict(
        env_prefix="WORKER_", env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True
    )


def load(**overrides: Any) -> Settings:
    """Return the settings of this environment; Misconfigured names every variable that is wrong."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise Misconfigured(complaints(error, variable_of)) from error


def variable_of(name: str) -> str:
    """Return the environment's variable of a setting, given by its field or by that variable."""
    field = Settings.model_fields.get(name)
    stated = field.validation_alias if field else name if name.startswith("LEVERET_") else None
    return stated if isinstance(stated, str) else f"WORKER_{name.upper()}"


def unknown_variables() -> tuple[str, ...]:
    """Return what is said of each WORKER_ variable, set here or in `.env`, that is no setting: nothing reads it."""
    known = {variable_of(name) for name in Settings.model_fields}
    given = {name.upper() for name in (*os.environ, *DotEnvSettingsSource(Settings).env_vars)}
    strange = sorted(name for name in given - known if name.startswith("WORKER_"))
    return tuple(f"{name} is no setting{nearest(name, known)}" for name in strange)


def environment() -> dict[str, str]:
    """Return what a tool may see of our environment: no setting and no secret of ours."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "LIBVA_DRIVER_NAME", "CUDA_VISIBLE_DEVICES")
    return {name: os.environ[name] for name in kept if name in os.environ}
