"""Messages behind the publisher's back: taking them, burying them, waiting for them to be dead."""

from __future__ import annotations

import time
from contextlib import contextmanager

import pika

from worker.core.routing import DEAD_QUEUE, JOBS


@contextmanager
def channel_of(url):
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel


def reject(url, queue, count=1):
    """Nack what arrives in `queue`, as a worker does with a job that is dead."""
    with channel_of(url) as channel:
        for _ in range(count):
            method, _, _ = taken(channel, queue)
            channel.basic_nack(method.delivery_tag, requeue=False)


def taken(channel, queue, seconds=60.0):
    deadline = time.monotonic() + seconds
    while True:
        method, properties, body = channel.basic_get(queue)
        if method is not None:
            return method, properties, body
        assert time.monotonic() < deadline, f"nothing arrived in {queue}"
        channel.connection.process_data_events(0.02)


def bury(url, bodies, *, key="cpu.low", headers=None, message_id="by-message"):
    """Publish `bodies` and let them die; return once the dead-letter queue holds them."""
    with channel_of(url) as channel:
        before = depth(channel)
        for body in bodies:
            properties = pika.BasicProperties(delivery_mode=2, message_id=message_id, headers=headers, type="canonical")
            channel.basic_publish(JOBS, key, body, properties, mandatory=True)
    lane = "media.cpu.low" if key == "cpu.low" else "media.cpu.normal"
    reject(url, lane, len(bodies))
    wait_for_dead(url, before + len(bodies))


def depth(channel, queue=DEAD_QUEUE):
    return channel.queue_declare(queue, passive=True).method.message_count


def wait_for_dead(url, count, seconds=10.0):
    deadline = time.monotonic() + seconds
    with channel_of(url) as channel:
        while (found := depth(channel)) != count:
            assert time.monotonic() < deadline, f"{found} dead letters instead of {count}"
            channel.connection.process_data_events(0.02)
