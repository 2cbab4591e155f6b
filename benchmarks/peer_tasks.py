"""The same no-op job for a peer, which PEER names: run inside the peers' own environment.

    PEER=celery python peer_tasks.py COUNT PAUSE     publishes COUNT jobs, PAUSE seconds apart

Every job appends `started sent` to the file STAMPS.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PEER = os.environ["PEER"]
URL = os.environ["BROKER_URL"]
DESCRIPTOR = os.open(os.environ["STAMPS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def stamp(sent: float) -> None:
    """Note when a job started, and when it was sent."""
    os.write(DESCRIPTOR, f"{time.time()} {sent}\n".encode())


app: Any
if PEER == "dramatiq":
    import dramatiq
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    app = RabbitmqBroker(url=URL)
    dramatiq.set_broker(app)
    job = dramatiq.actor(stamp)

    async def send() -> None:
        job.send(time.time())

elif PEER == "celery":
    from celery import Celery

    app = Celery("peer_tasks", broker=URL)
    app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, task_ignore_result=True)
    job = app.task(name="stamp")(stamp)

    async def send() -> None:
        job.delay(time.time())

elif PEER == "procrastinate":
    import procrastinate

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["DATABASE_URL"]))
    job = app.task(name="stamp")(stamp)

    async def send() -> None:
        await job.defer_async(sent=time.time())

elif PEER == "oban":
    from oban import Oban, worker

    @worker()
    class Stamp:
        """The job as a class: 0.7.0 gives a function its arguments within the first of them."""

        async def process(self, job: Any) -> None:
            """Note the time."""
            stamp(job.args["sent"])

    async def send() -> None:
        await Stamp.enqueue({"sent": time.time()})

else:
    from taskiq_aio_pika import AioPikaBroker

    app = AioPikaBroker(URL, qos=1)

    @app.task(task_name="stamp")
    async def job(sent: float) -> None:
        stamp(sent)

    async def send() -> None:
        await job.kiq(time.time())


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    """Connect the peers that a publisher must connect."""
    if PEER == "taskiq":
        await app.startup()
        yield
        await app.shutdown()
    elif PEER == "procrastinate":
        async with app.open_async():
            yield
    elif PEER == "oban":
        pool = await Oban.create_pool(os.environ["DATABASE_URL"])
        async with Oban(pool=pool):
            yield
        await pool.close()
    else:
        yield


async def publish(count: int, pause: float) -> None:
    async with opened():
        for _ in range(count):
            await send()
            await asyncio.sleep(pause)


if __name__ == "__main__":
    # oban calls a job by its module's name, which is not `__main__` where the worker imports it.
    import peer_tasks

    asyncio.run(peer_tasks.publish(int(sys.argv[1]), float(sys.argv[2])))
