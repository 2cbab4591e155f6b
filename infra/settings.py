"""The settings of provisioning: the worker's own variables, with the worker's own defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from infra.local.rabbitmq import TIMEOUT
from worker.core import default_places
from worker.core.errors import Misconfigured
from worker.core.routing import DEFAULT_DELAYS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEFAULT_BROKER: Final = "amqp://guest:guest@127.0.0.1:5672/"


@dataclass(frozen=True, slots=True)
class ProvisionSettings:
    """The places of the topology, the tables and the bucket."""

    broker_url: str
    database_url: str
    storage_url: str
    retry_delays: tuple[float, ...]
    management_url: str | None
    s3_endpoint: str | None
    s3_region: str | None
    s3_access_key: str | None
    s3_secret_key: str | None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Return the settings of an environment; raises Misconfigured."""
        return cls(
            broker_url=environment.get("WORKER_BROKER_URL", DEFAULT_BROKER),
            database_url=environment.get("WORKER_DATABASE_URL", default_places.database_url(environment)),
            storage_url=environment.get("WORKER_STORAGE_URL", ""),
            retry_delays=_delays(environment.get("WORKER_RETRY_DELAYS")),
            management_url=environment.get("RABBITMQ_MANAGEMENT_URL"),
            s3_endpoint=environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL"),
            s3_region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"),
            s3_access_key=environment.get("AWS_ACCESS_KEY_ID"),
            s3_secret_key=environment.get("AWS_SECRET_ACCESS_KEY"),
        )


def overlay(given: Mapping[str, str], services: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return `given`, and the variables of each service of which it names none.

    A service counts as a whole: the address of one storage never meets the credentials of another.
    What only says how a service is set, such as its time-out, names none.
    """
    settings = dict(given)
    for service in services:
        if not (service.keys() - {TIMEOUT}) & given.keys():
            settings |= {name: value for name, value in service.items() if name not in given}
    return settings


def _delays(text: str | None) -> tuple[float, ...]:
    if text is None:
        return DEFAULT_DELAYS
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise Misconfigured(f"WORKER_RETRY_DELAYS is {text!r}, not seconds with commas between them") from error
