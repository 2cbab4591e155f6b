"""All that people may read of a fleet at the end of a campaign: place by place, as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pika
import psycopg
from psycopg import sql

from infra.broker import write_through
from worker.adapters.rabbitmq.publisher import Publisher
from worker.core.routing import EVENTS

from .invariant import Stores
from .planted import content_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .world import World

QUEUE = "chaos.events"


def listen(url: str) -> None:
    """Let every event be kept, over restarts of the broker too, until the campaign is judged."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(QUEUE, EVENTS, "#")
        write_through(channel)


def everything(world: World, metrics: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield all that people may read: the place in words, and its bytes."""
    for path in sorted(world.folder.glob(f"{world.workers[0].name.rpartition('-')[0]}-*.log")):
        yield f"the log {path.name}", path.read_bytes()
    yield from metrics.items()
    yield from ((f"the name {uri}", uri.encode()) for uri in Stores(world).visible_files())
    yield from _events(world.real["WORKER_BROKER_URL"])
    yield from _dead_letters(world.real["WORKER_BROKER_URL"])
    yield from _rows(world.real["WORKER_DATABASE_URL"])


def _events(url: str) -> Iterator[tuple[str, bytes]]:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        while True:
            method, properties, body = channel.basic_get(QUEUE, auto_ack=True)
            if method is None:
                return
            yield f"an event {method.routing_key}", f"{method.routing_key} {properties}".encode() + (body or b"")


def _dead_letters(url: str) -> Iterator[tuple[str, bytes]]:
    """Yield all of each dead letter but its body, which is the publisher's."""
    with Publisher(url) as publisher:
        for letter in publisher.dead_letters():
            read = (letter.headers, letter.message_id, letter.routing_key, letter.type)
            yield f"the headers of {letter.message_id}", repr(read).encode()


def _rows(url: str) -> Iterator[tuple[str, bytes]]:
    with psycopg.connect(url, autocommit=True) as connection:
        listed = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").fetchall()
        for (table,) in listed:
            rows = connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
            names = [column.name for column in rows.description or ()]
            for row in rows:
                for name, value in zip(names, row, strict=True):
                    yield f"database {table}.{name}", content_of(value)
