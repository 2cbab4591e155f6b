"""The questions about a source: what it is and where it ends, asked for at the same time."""

import asyncio

import pytest

from worker.core.command import Exit
from worker.core.errors import BadInput, TimedOut, ToolStalled
from worker.core.media_info import MediaInfo, StreamInfo
from worker.media.head import has_index
from worker.tasks.shared.measuring import probe_source

FILM = MediaInfo(
    container="mov,mp4",
    duration=10.0,
    start=0.0,
    bytes=40,
    bitrate_bps=None,
    streams=(StreamInfo(index=0, kind="video", codec="h264", start=0.0, duration=10.0, width=2, height=2),),
)
MP4 = b"\0\0\0\x18ftypisom" + bytes(28)


class Context:
    """A context whose probe waits for the other question, as that one waits for it."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.begun = {name: asyncio.Event() for name in ("probe", "end")}
        self.entries = []

    def tool(self, name):
        return name

    async def once(self, question, path, look):
        return await look()

    async def probe(self, path):
        self.begun["probe"].set()
        await asyncio.wait_for(self.begun["end"].wait(), 5)
        return FILM

    async def run(self, pipeline, on_line, *, timeout=None):
        self.begun["end"].set()
        await asyncio.wait_for(self.begun["probe"].wait(), 5)
        argv = pipeline.stages[0].argv
        self.entries.append(argv[argv.index("-read_intervals") + 1] if "-read_intervals" in argv else "all")
        code, lines = self.answers.pop(0)
        for line in lines:
            on_line(line)
        return (Exit(pipeline.stages[0], code, None, 0.1, ""),)


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(MP4)
    return path


async def test_a_source_and_its_end_are_asked_for_at_the_same_time(film):
    context = Context((0, ["0,9.000000,9.000000,1.000000,K_"]))
    assert await probe_source(film, "film.mp4", context) == FILM
    assert context.entries == ["10000000.000000%+#3000"]


@pytest.mark.parametrize("first", [(1, []), (0, [])], ids=["refuses", "is silent"])
async def test_a_file_that_cannot_be_entered_behind_its_end_is_asked_a_second_before_it(film, first):
    context = Context(first, (0, ["0,9.000000,9.000000,1.000000,K_"]))
    assert await probe_source(film, "film.mp4", context) == FILM
    assert context.entries == ["10000000.000000%+#3000", "9.000000%+#3000"]


async def test_an_end_that_is_later_than_the_file_says_has_it_measured(film):
    context = Context((0, ["0,29.000000,29.000000,1.000000,K_"]), (0, [f"0,{n}.0,{n}.0,1.0,K_" for n in range(30)]))
    info = await probe_source(film, "film.mp4", context)
    assert (info.duration, info.measured) == (30.0, True)
    assert context.entries[1:] == ["all"]


@pytest.mark.parametrize("error", [TimedOut("late"), ToolStalled("silent")], ids=["late", "silent"])
async def test_an_end_that_is_not_found_in_time_is_asked_for_as_before(film, error):
    class Slow(Context):
        async def run(self, pipeline, on_line, *, timeout=None):
            if timeout is not None:
                self.begun["end"].set()
                raise error
            return await super().run(pipeline, on_line)

    context = Slow((0, ["0,9.000000,9.000000,1.000000,K_"]))
    assert await probe_source(film, "film.mp4", context) == FILM
    assert context.entries == ["9.000000%+#3000"]


async def test_an_index_that_leads_elsewhere_does_not_make_a_file_short(film):
    context = Context((0, ["0,0.000000,0.000000,1.000000,K_"]), (0, ["0,9.000000,9.000000,1.000000,K_"]))
    assert await probe_source(film, "film.mp4", context, to_its_end=True) == FILM
    assert context.entries == ["10000000.000000%+#3000", "9.000000%+#3000"]


class Endless(Context):
    """A context in which the end of a file is looked for without an end."""

    ended = False

    async def run(self, pipeline, on_line, *, timeout=None):
        self.begun["end"].set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            self.ended = True


async def test_a_file_that_is_no_media_ends_the_look_at_its_end(film):
    class Refused(Endless):
        async def probe(self, path):
            await super().probe(path)
            raise BadInput("no media")

    context = Refused()
    with pytest.raises(BadInput, match="no media"):
        await probe_source(film, "film.mp4", context)
    assert context.ended


async def test_a_job_that_is_cancelled_ends_the_look_at_an_end(film):
    context = Endless()
    looking = asyncio.create_task(probe_source(film, "film.mp4", context))
    await asyncio.sleep(0.05)  # both questions wait for their answers
    assert context.begun["end"].is_set()
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert context.ended


def test_files_with_an_index_are_known_by_their_first_bytes():
    assert has_index(MP4)
    assert has_index(bytes.fromhex("1A45DFA3"))
    assert has_index(b"RIFF\0\0\0\0AVI LIST")
    assert not has_index(b"\0\0\0\x18ftypM4A ")
    assert not has_index(b"RIFF\0\0\0\0WAVEfmt ")
    assert not has_index(b"\x47" * 188)
    assert not has_index(b"")
