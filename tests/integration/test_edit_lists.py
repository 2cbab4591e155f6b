"""What an edit list hides: left out by who decodes, and reported or refused where a copy would show it."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.edit_lists import NOTHING, with_edits
from tests.support.media import bench_in, clip
from worker.core.errors import InvalidJob, VerificationFailed
from worker.media.hls.ladder import film_seconds
from worker.media.verify import Expected
from worker.tasks.ffmpeg import FfmpegTask
from worker.tasks.mkvmerge import MkvmergeTask
from worker.tasks.shared.measuring import check_output, probe_source

if TYPE_CHECKING:
    from pathlib import Path

    from worker.testing import BenchResult, TaskBench

HIDDEN_BEGIN = ((2.5, 0.5),)
HIDDEN_END = ((0.0, 1.0),)
TWO_PIECES = ((0.0, 1.0), (2.0, 1.0))
LATE_AND_CUT = ((NOTHING, 1.0), (0.0, 2.0))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a film of 3 s with one key frame."""
    folder = tmp_path_factory.mktemp("plain")
    return clip(folder / "plain.mp4", picture="s=64x64:r=25", seconds=3, extra=("-g", "100"))


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a film of 3 s with a key frame every half second."""
    folder = tmp_path_factory.mktemp("keyed")
    return clip(folder / "keyed.mp4", picture="s=64x64:r=24", seconds=3, extra=("-g", "12", "-bf", "0"))


@pytest.fixture
def bench(tmp_path: Path) -> TaskBench:
    return bench_in(tmp_path)


async def copied(bench: TaskBench, output: str, **options: Any) -> BenchResult:
    data = {
        "sources": ["nas://film.mp4"],
        "source_maps": [{}],
        "output_maps": [{"options": {"codec": "copy"}}],
        "output_file": output,
    }
    return await bench.run_task(FfmpegTask(), data | options)


@pytest.mark.parametrize("output", ["o.mkv", "o.ts"])
async def test_a_copy_that_shows_a_hidden_begin_says_so(output: str, plain: Path, bench: TaskBench) -> None:
    with_edits(plain, bench.root / "film.mp4", *HIDDEN_BEGIN)
    result = await copied(bench, output)
    assert result.outputs[output].duration == pytest.approx(3.0, abs=0.1)
    (warning,) = result.warnings
    hidden = re.match(r"the edit list of film.mp4 hides (\S+) s before its begin, and a copy shows them", warning)
    assert hidden
    assert float(hidden[1]) == pytest.approx(2.5, abs=0.05)


async def test_a_copy_into_mp4_keeps_the_begin_hidden(plain: Path, bench: TaskBench) -> None:
    with_edits(plain, bench.root / "film.mp4", *HIDDEN_BEGIN)
    result = await copied(bench, "o.mp4")
    assert result.outputs["o.mp4"].duration == pytest.approx(0.5, abs=0.05)
    assert not result.warnings


@pytest.mark.parametrize(("edits", "seconds"), [(HIDDEN_END, 2), (TWO_PIECES, 1), (LATE_AND_CUT, 1)])
@pytest.mark.parametrize("output", ["o.mkv", "o.mp4"])
async def test_a_copy_of_what_an_edit_list_leaves_out_elsewhere_is_refused(
    edits: tuple[tuple[float, float], ...], seconds: int, output: str, plain: Path, bench: TaskBench
) -> None:
    with_edits(plain, bench.root / "film.mp4", *edits)
    with pytest.raises(InvalidJob, match=rf"leaves out {seconds}\.\d\d s of its film, which a copy shows: encode it"):
        await copied(bench, output)


@pytest.mark.parametrize(
    ("edits", "seconds"), [(((1.75, 1.25),), 2.25), (((0.0, 1.0),), 1.0), (((0.0, 1.0), (2.0, 1.0)), 2.0)]
)
async def test_a_hidden_part_that_ffmpeg_does_not_copy_is_no_reason_to_refuse(
    edits: tuple[tuple[float, float], ...], seconds: float, keyed: Path, bench: TaskBench
) -> None:
    """A piece is entered at the key frame before it; only what lies between is copied with it."""
    with_edits(keyed, bench.root / "film.mp4", *edits)
    result = await copied(bench, "o.mkv")
    assert result.outputs["o.mkv"].duration == pytest.approx(seconds, abs=0.1)
    assert any("shows them" in warning for warning in result.warnings) == (edits[0][0] > 0)


async def test_a_piece_of_a_film_with_an_edit_list_is_counted_from_its_shown_begin(
    keyed: Path, bench: TaskBench
) -> None:
    with_edits(keyed, bench.root / "film.mp4", (1.0, 2.0))
    result = await copied(bench, "o.mkv", input_options={"ss": 0.6, "t": 1})
    assert result.outputs["o.mkv"].duration == pytest.approx(1.1, abs=0.1)
    (warning,) = result.warnings
    assert "begins at its key frame at 0.50 s instead of 0.60 s" in warning


@pytest.mark.parametrize(
    ("edits", "said"),
    [(HIDDEN_BEGIN, "hides 2.5"), (TWO_PIECES, "leaves out 1.0"), (HIDDEN_END, "leaves out 2.0")],
)
async def test_mkvmerge_says_what_matroska_shows(
    edits: tuple[tuple[float, float], ...], said: str, plain: Path, bench: TaskBench
) -> None:
    with_edits(plain, bench.root / "film.mp4", *edits)
    tracks = [{"track": 0}, {"track": 1}]
    data = {"sources": [{"filename": "nas://film.mp4"}], "tracks": tracks, "output_file": "o.mkv"}
    result = await bench.run_task(MkvmergeTask(), data)
    assert any(said in warning for warning in result.warnings), result.warnings


@pytest.mark.parametrize(
    ("edits", "seconds"), [(HIDDEN_BEGIN, 0.5), (HIDDEN_END, 1.0), (TWO_PIECES, 2.0), (LATE_AND_CUT, 2.0)]
)
async def test_a_film_lasts_as_long_as_its_edit_list_says(
    edits: tuple[tuple[float, float], ...], seconds: float, plain: Path, bench: TaskBench
) -> None:
    film = with_edits(plain, bench.root / "film.mp4", *edits)
    info = await probe_source(film, "film.mp4", bench)
    assert film_seconds(info) == pytest.approx(seconds, abs=0.05)


TOO_LONG = """<Tags><Tag><Simple><Name>DURATION</Name><String>00:00:09.000000000</String></Simple></Tag></Tags>"""


async def test_packets_decide_where_an_output_states_another_length(
    plain: Path, bench: TaskBench, tmp_path: Path
) -> None:
    """Such a length is ffmpeg 9's of a sound with a hidden begin, in Matroska."""
    output, tags = tmp_path / "o.mkv", tmp_path / "tags.xml"
    subprocess.run(("mkvmerge", "-q", "-o", output, plain), check=True, timeout=60)
    tags.write_text(TOO_LONG)
    subprocess.run(("mkvpropedit", "-q", output, "--tags", f"track:a1:{tags}"), check=True, timeout=60)
    info = await bench.probe(output)
    found = await check_output(info, Expected(at_least=3.0, at_most=3.0), output, "o.mkv", bench)
    assert found.duration == pytest.approx(3.0, abs=0.1)
    for promised in (1.0, 5.0):
        with pytest.raises(VerificationFailed, match=rf"lasts 3\.\d\d s instead of {promised:.2f} s"):
            await check_output(info, Expected(at_least=promised, at_most=promised), output, "o.mkv", bench)
