"""The campaign's faults reach what they are named after, and are counted only then."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time

import pytest

from tests.chaos import campaign
from tests.chaos.campaign import Campaign
from tests.chaos.faults import LAST_WORDS, Fault, cut, half_open, kill_at, refusing, short_reads, slow
from tests.chaos.proxy import ANSWER, CONTENT, WRITING, Proxy
from tests.chaos.world import FAKETIME, ROOT, World

OBJECT = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\nServer: x\r\n\r\n"
HEAD = b"HEAD /media/a HTTP/1.1\r\n\r\n"
GET = b"GET /media/a HTTP/1.1\r\n\r\n"
PUT = b"PUT /media/a HTTP/1.1\r\n\r\n"


class Server:
    """Answers what it hears as S3 would, and keeps it."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    async def serve(self, reader, writer):
        while chunk := await reader.read(1000):
            self.received.append(chunk)
            writer.write(OBJECT + (b"" if chunk.startswith(b"HEAD") else b"x" * 2000))
            await writer.drain()
        writer.close()


@pytest.fixture
async def server():
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()


@pytest.fixture
async def world(server, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.chaos.faults.STOP_SECONDS", 1.0)
    world = World(tmp_path / "world")
    world.folder.mkdir()
    proxy = Proxy(server.port)
    await proxy.start()
    world.proxies = dict.fromkeys(("broker", "database", "s3"), proxy)
    yield world
    await proxy.stop()


async def ask(proxy, *requests):
    """Return all that comes back over one connection until it ends, or a quarter of a second passes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    answers = []
    try:
        for request in requests:
            writer.write(request)
            async with asyncio.timeout(0.25):
                answers.append(await reader.read(10_000))
    except (TimeoutError, ConnectionError) as error:
        answers.append(type(error).__name__)
    finally:
        writer.close()
    return answers


class Dice(random.Random):
    """Takes the first of every choice, or the last, and the smaller side of a chance."""

    def __init__(self, at: int = 0, chance: float = 0.0) -> None:
        super().__init__(1)
        self.at, self.chance = at, chance

    def choice(self, seq):
        return seq[self.at]

    def random(self):
        return self.chance

    def uniform(self, a, b):
        del b
        return min(a, 0.3)


async def under(fault, world, dice, *requests):
    """Return whether a fault met something, and what requests got meanwhile."""
    injected = asyncio.create_task(fault(world, dice))
    await asyncio.sleep(0)
    answers = await ask(world.proxies["s3"], *requests)
    return await injected, answers


async def test_a_cut_at_the_last_words_lets_the_server_act_and_gives_the_client_no_answer(world, server):
    met, answers = await under(cut("s3"), world, Dice(), HEAD, PUT)
    assert met
    assert answers == [OBJECT, "ConnectionResetError"]
    assert server.received == [HEAD, PUT]


async def test_a_connection_that_sticks_at_the_last_words_stays_open_and_silent(world, server):
    met, answers = await under(half_open("s3"), world, Dice(), HEAD, PUT)
    assert met
    assert answers == [OBJECT, "TimeoutError"]
    assert server.received == [HEAD]


@pytest.mark.parametrize("fault", [cut("s3"), half_open("database"), slow("broker"), refusing(500)])
async def test_a_fault_that_meets_no_connection_is_not_counted(world, fault):
    assert not await fault(world, Dice(chance=1.0))


async def test_a_trap_that_nobody_reaches_is_not_counted_and_taken_away(world):
    assert not await kill_at("recorded")(world, Dice())
    assert not world.trap.exists()


async def test_a_trap_ends_the_first_worker_that_reaches_its_step_and_no_other(world, monkeypatch):
    monkeypatch.setattr("tests.chaos.faults.STOP_SECONDS", 30.0)
    injected = asyncio.create_task(kill_at("recorded")(world, Dice()))
    await asyncio.sleep(0)
    source = f"""
from tests.chaos.worker_main import *
for step in ("claimed", "recorded"):
    print(step, flush=True)
    die_if_trapped(Path({str(world.trap)!r}), step)
print("lives", flush=True)
"""
    words = []
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", source), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        words.append((await process.communicate())[0].split())
    assert words == [[b"claimed", b"recorded"], [b"claimed", b"recorded", b"lives"]]
    assert await injected


async def test_a_worker_with_a_wrong_clock_can_still_pause():
    """Where nothing lies about the time it pauses anyway."""
    off = 14 * 60 if FAKETIME else 0
    clock = {"LD_PRELOAD": FAKETIME, "FAKETIME": "-14m", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    source = "from tests.chaos.worker_main import *; time.sleep(0.2); print(time.time())"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", source), cwd=ROOT, env=os.environ | clock, stdout=asyncio.subprocess.PIPE
    )
    answer, _ = await process.communicate()
    assert abs(time.time() - float(answer) - off) < 30


async def test_an_object_that_is_read_comes_short_and_what_is_reported_of_it_whole(world):
    met, answers = await under(short_reads, world, Dice(at=-1), HEAD, GET)
    assert met
    assert answers[0] == OBJECT
    assert 0 < len(answers[1]) < len(OBJECT) + 2000


async def test_s3_refuses_what_writes_and_lets_the_question_before_it_pass(world, server):
    met, answers = await under(refusing(503), world, Dice(at=-1), HEAD, PUT)
    assert met
    assert answers[0] == OBJECT
    assert b"503" in answers[1]
    assert server.received == [HEAD]


def test_last_words_are_an_acknowledgement_a_commit_and_a_request_that_moves_bytes():
    assert LAST_WORDS["broker"].search(b"\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x50" + bytes(9) + b"\xce")
    assert not LAST_WORDS["broker"].search(b"\x08\x00\x00\x00\x00\x00\x00\xce")
    assert LAST_WORDS["database"].search(b"Q\x00\x00\x00\x0bCOMMIT\x00")
    assert not LAST_WORDS["s3"].search(HEAD)
    assert WRITING.match(PUT)
    assert not WRITING.match(GET)
    assert CONTENT.match(OBJECT + b"x")
    assert not CONTENT.match(OBJECT)
    assert ANSWER.match(OBJECT)


async def test_a_fault_that_cannot_be_injected_ends_the_campaign(world, monkeypatch):
    tried = asyncio.Event()

    async def broken(*_):
        tried.set()
        raise FileExistsError("the mount is there again already")

    async def disturb():
        async with running.under_faults(world):
            await asyncio.wait_for(tried.wait(), 5)

    monkeypatch.setattr(campaign, "deck", lambda _: [Fault("NAS mount vanishes", broken)])
    running = Campaign(world.folder, 0, seed=1, seconds=1.0)
    running._dice = Dice()
    with pytest.raises(FileExistsError):
        await disturb()
