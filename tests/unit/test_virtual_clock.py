"""The virtual clock as values: its environments, its report, its proof."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from visualizers.clock_proof import LOG, frame_bytes, judge, judge_frames, proof_of
from visualizers.virtual_clock import (
    EXIT_REASONS,
    LIGHTS,
    SOURCE,
    ClockReport,
    FrameRange,
    Share,
    build_command,
    count_environment,
    library_name,
    read_report,
    render_environment,
    renders_per_frame,
    shared_environments,
)

LIBRARY = Path("/srv/clock.so")
SIZE = (2, 1)
FRAME = b"P6\n2 1 255\n" + bytes(6)
OTHER = b"P6\n2 1 255\n" + b"pixels"


@pytest.mark.parametrize(("framerate", "renders"), [(25, 3), (30, 2), (60, 1)])
def test_gource_renders_sixty_times_a_second_or_more(framerate: int, renders: int) -> None:
    assert renders_per_frame(framerate) == renders


def test_a_frame_rate_that_gource_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="24"):
        renders_per_frame(24)


def test_a_range_reaches_the_library_as_numbers() -> None:
    environment = render_environment(LIBRARY, 25, FrameRange(10, 20))
    assert environment["LD_PRELOAD"] == "/srv/clock.so"
    assert (environment["VC_EVERY"], environment["VC_FIRST"], environment["VC_LAST"]) == ("3", "10", "20")
    assert environment["SDL_VIDEODRIVER"] == "offscreen"


def test_an_open_range_has_no_last_frame() -> None:
    assert "VC_LAST" not in render_environment(LIBRARY, 30, FrameRange(7))


def test_a_dry_run_counts_and_has_no_range() -> None:
    environment = count_environment(LIBRARY, 60)
    assert environment["VC_COUNT"] == "1"
    assert not {"VC_FIRST", "VC_LAST"} & set(environment)


@pytest.mark.parametrize(("first", "last"), [(-1, None), (5, 5), (5, 4)])
def test_a_range_without_frames_is_refused(first: int, last: int | None) -> None:
    with pytest.raises(ValueError, match="range"):
        FrameRange(first, last)


@pytest.mark.parametrize(
    ("frames", "total", "count"),
    [
        (FrameRange(), 10, 10),
        (FrameRange(3), 10, 7),
        (FrameRange(3, 5), 10, 2),
        (FrameRange(3, 50), 10, 7),
        (FrameRange(12), 10, 0),
    ],
)
def test_a_range_knows_how_many_frames_of_a_film_it_holds(frames: FrameRange, total: int, count: int) -> None:
    assert frames.frames(total) == count


@pytest.mark.parametrize("frames", range(9))
@pytest.mark.parametrize("of", [1, 2, 3, 4])
def test_a_share_knows_the_frames_that_it_writes(frames: int, of: int) -> None:
    for index in range(of):
        assert Share(index, of).written(frames) == sum(1 for frame in range(frames) if frame % of <= index)


@pytest.mark.parametrize(("index", "of"), [(-1, 2), (2, 2), (0, 0)])
def test_a_share_of_no_film_is_refused(index: int, of: int) -> None:
    with pytest.raises(ValueError, match="share"):
        Share(index, of)


@pytest.mark.parametrize(
    ("cores", "painters", "threads"), [(1, 1, None), (2, 2, "0"), (4, 4, "0"), (7, 4, "1"), (64, 4, "16")]
)
def test_at_most_four_share_a_film_each_on_its_part_of_the_cores(
    cores: int, painters: int, threads: str | None
) -> None:
    environments = shared_environments(LIBRARY, 30, cores)
    assert [one.get("VC_SHARE", "0") for one in environments] == [str(index) for index in range(painters)]
    assert {one.get("LP_NUM_THREADS") for one in environments} == {threads}


@pytest.mark.parametrize("path", ["clock.so", "/a b/clock.so", "/a:b/clock.so", "/$LIB/clock.so"])
def test_a_path_that_the_loader_would_take_apart_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="LD_PRELOAD"):
        render_environment(Path(path), 30)


def test_the_last_report_counts_and_other_words_do_not() -> None:
    errors = b"gource: hm\nvirtual-clock: exported=3 written=1\nvirtual-clock: exported=12 written=9\n\xff\n"
    assert read_report(errors) == ClockReport(12, 9)
    assert read_report(b"a virtual-clock: exported=12 written=9\n") is None
    assert read_report(b"") is None


def test_the_name_of_the_library_changes_with_its_source() -> None:
    assert library_name(b"a") != library_name(b"b")
    assert re.fullmatch(r"virtual_clock-[0-9a-f]{16}\.so", library_name(SOURCE.read_bytes()))


def test_the_library_is_built_from_the_sources_beside_the_module() -> None:
    command = build_command(LIBRARY, compiler="gcc-12")
    assert command[0] == "gcc-12"
    assert command[command.index("-o") + 1] == "/srv/clock.so"
    assert {str(SOURCE), str(LIGHTS)} < set(command)


def test_every_exit_code_of_the_source_has_its_reason() -> None:
    codes = {int(code) for code in re.findall(r"EXIT_[A-Z]+ = (\d+)", SOURCE.read_text())}
    assert codes == set(EXIT_REASONS)


def test_the_two_runs_of_the_proof_differ_by_the_clock_alone() -> None:
    proof = proof_of(LIBRARY, Path("/srv/log"), gource="/opt/gource")
    assert proof.command[0] == "/opt/gource"
    assert proof.command[-1] == "/srv/log"
    (virtual,) = proof.virtual
    assert set(virtual) - set(proof.real) == {"LD_PRELOAD", "VC_EVERY", "VC_FIRST"}
    assert all(line.count("|") == 3 for line in LOG.splitlines())


def test_a_frame_is_its_header_and_three_bytes_a_pixel() -> None:
    assert frame_bytes(SIZE) == len(FRAME)


@pytest.mark.parametrize(
    ("real", "virtual", "identical", "reason"),
    [
        (FRAME * 3, FRAME * 3, True, "3 frames are identical"),
        (FRAME * 3, FRAME * 2, False, "wrote 3 frames, the virtual one 2"),
        (FRAME * 3, FRAME + OTHER + FRAME, False, "frame 1 of 3 differs"),
        (FRAME[:-1], FRAME[:-1], False, "not whole frames"),
        (b"", b"", False, "0 bytes"),
    ],
)
def test_only_equal_streams_of_whole_frames_are_a_proof(
    real: bytes, virtual: bytes, *, identical: bool, reason: str
) -> None:
    verdict = judge(real, virtual, size=SIZE)
    assert verdict.identical is identical
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("real", "virtual", "identical", "reason"),
    [
        (("a", "b"), ("a", "b"), True, "2 frames are identical"),
        (("a", "b"), ("a", "c"), False, "frame 1 of 2 differs"),
        (("a", "b"), ("a",), False, "wrote 2 frames, the virtual one 1"),
        (("a",), (), False, "wrote no film"),
        ((), (), False, "wrote no film"),
    ],
)
def test_only_equal_hashes_of_all_frames_are_a_proof(
    real: tuple[str, ...], virtual: tuple[str, ...], *, identical: bool, reason: str
) -> None:
    verdict = judge_frames(real, virtual)
    assert verdict.identical is identical
    assert reason in verdict.reason
