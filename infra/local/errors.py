"""What goes wrong with a service on this machine."""


class ServiceError(Exception):
    """A private service is missing, did not start or did not stop; the message says what to do."""
