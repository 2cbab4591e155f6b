"""The proof of gource's virtual clock on a busy host, where the real clock loses frames."""

from types import SimpleNamespace

import pytest

from visualizers import clock
from visualizers.clock_proof import AGREEING, ATTEMPTS

FILM = ("a", "b", "c")


def drawn_by(monkeypatch, real):
    """Have the virtual clock draw FILM, and the real one these films; return a list of what the real one drew."""
    films, drew = iter(real), []

    async def frames(lookup, command, environments):
        end = SimpleNamespace(ok=True, tail="")
        if len(environments) == 1 and "LD_PRELOAD" not in environments[0]:
            drew.append(next(films))
            return drew[-1], end
        return FILM, end

    monkeypatch.setattr(clock, "_frames", frames)
    monkeypatch.setattr(clock, "read_report", lambda _: object())
    return drew


async def found(tmp_path):
    library = tmp_path / "clock.so"
    library.touch()
    return await clock.find_clock(SimpleNamespace(tool=str), library)


async def test_a_busy_host_on_which_the_real_clock_loses_frames_proves_the_virtual_one(tmp_path, monkeypatch):
    drew = drawn_by(monkeypatch, [("a", "b"), ("b", "c"), ("a", "c"), ("a",), FILM])
    assert (await found(tmp_path)).name == "virtual"
    assert len(drew) == 5


@pytest.mark.parametrize(
    ("films", "tried"),
    [
        ([("a", "x", "c")] * 9, AGREEING),
        ([("x",), ("a", "b"), ("x",), ("y",), ("x",), FILM], 5),
        ([(str(number),) for number in range(20)], ATTEMPTS),
        ([()] * 9, AGREEING),
    ],
    ids=["other frames", "other frames on a busy host", "no two alike", "no film"],
)
async def test_a_host_whose_real_clock_never_draws_the_virtual_film_keeps_the_real_clock(
    tmp_path, monkeypatch, films, tried
):
    drew = drawn_by(monkeypatch, films)
    assert (await found(tmp_path)).name == "real"
    assert len(drew) == tried
