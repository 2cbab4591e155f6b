"""Private services on this machine: RabbitMQ, S3 (SeaweedFS) and PostgreSQL on free loopback ports.

    services = LocalServices(Path(".local"))
    services.up(("rabbitmq", "s3"))
    os.environ | services.environment()
    services.down()

Everything a node owns (ports, credentials, data, log) lives in the state directory, so two checkouts, or a
test run beside a demo, never meet.
"""

from infra.local.errors import ServiceError
from infra.local.services import SERVICES, LocalServices, ServiceStatus

__all__ = ["SERVICES", "LocalServices", "ServiceError", "ServiceStatus"]
