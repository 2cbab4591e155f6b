"""The broker: a link that reconnects, a consumer that sweeps and waits, deliveries that settle, events."""

from worker.adapters.rabbitmq.consumer import RabbitConsumer
from worker.adapters.rabbitmq.events import RabbitEvents
from worker.adapters.rabbitmq.link import Link

__all__ = ["Link", "RabbitConsumer", "RabbitEvents"]
