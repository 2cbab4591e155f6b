"""Free loopback ports."""

import errno
import random
import socket

from infra.local.errors import ServiceError

LOOPBACK = "127.0.0.1"
# Below Linux's ephemeral range (32768 and up): an outgoing connection never takes a port between our look
# and the service's bind.
CANDIDATES = range(20000, 32768)


def is_free(port: int) -> bool:
    """Return whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections linger in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(taken: frozenset[int]) -> int:
    """A port that nobody listens on, that is not among `taken`, and that no other process draws while this one lives.

    A server listens seconds after its port was drawn; tests run in several processes, and each draws dozens.
    """
    # SystemRandom, so that processes forked from one parent do not draw the same ports.
    draw = random.SystemRandom()
    for _ in range(1000):
        port = draw.choice(CANDIDATES)
        if port not in taken and is_free(port) and reserve(port) and is_free(port):
            return port
    raise ServiceError(f"no free port between {CANDIDATES.start} and {CANDIDATES.stop} on {LOOPBACK}")


def reserve(port: int) -> bool:
    """Keep a port from being drawn while this process lives; False where it was drawn before, here or elsewhere."""
    # An abstract name is there once for all that share the ports (a network namespace), and goes with its process.
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0leveret-port-{port}")
    except OSError as error:
        name.close()
        # A sandbox may refuse such names; then a port that is taken in between is found at the start.
        return error.errno != errno.EADDRINUSE
    # Open until the process ends.
    name.detach()
    return True
