"""A broker that takes connections and says nothing, as a frozen one does, or another program at its address."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from infra import broker
from worker.adapters.rabbitmq import blocking
from worker.adapters.rabbitmq.blocking import BlockingBroker
from worker.core.errors import BrokerUnavailable
from worker.core.topology import topology

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def silent() -> Iterator[str]:
    """Yield the address of a socket that nobody reads."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"amqp://127.0.0.1:{listener.getsockname()[1]}/"


def test_a_command_says_that_it_is_silent(silent, monkeypatch):
    monkeypatch.setattr(blocking, "OPEN_SECONDS", 0.2)
    with pytest.raises(BrokerUnavailable, match=r"at 127\.0\.0\.1:\d+ accepts connections but does not answer"):
        BlockingBroker(silent).__enter__()


def test_provisioning_says_that_it_does_not_answer(silent, monkeypatch):
    monkeypatch.setattr(broker, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(BrokerUnavailable, match="no broker answers at 127"):
        broker.declare(silent, topology())
