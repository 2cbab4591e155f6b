"""What goes wrong with a service on this machine."""

from worker.core.errors import LeveretError


class ServiceError(LeveretError):
    """A private service is missing, did not start or did not stop; the message says what to do."""
