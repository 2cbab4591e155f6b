"""The real gource on the virtual clock: every byte as on the real one, and an exit code that tells the truth."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from visualizers.clock_proof import ATTEMPTS, LOG, Proof, frame_bytes, judge, proof_of
from visualizers.virtual_clock import (
    HEADLESS,
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
    shared_environments,
)

LIMIT = 60.0
# Whatever gource draws through another path than the tree itself: text of several scripts, pictures, captions.
DECORATED = (
    *("--title", 'Ünïcode 王 \N{GRINNING FACE} "q" $(x)'),
    *("--caption-duration", "1", "--bloom-multiplier", "1.5", "--elasticity", "0.4"),
    "--highlight-users",
    "--colour-images",
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clock") / library_name(SOURCE.read_bytes())
    subprocess.run((*build_command(path), "-Werror", "-Wpedantic"), check=True, timeout=LIMIT)
    return path


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "history.log"
    path.write_text(LOG, encoding="utf-8")
    return path


def run(command: tuple[str, ...], environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, timeout=LIMIT, check=False)


def picture(path: Path, width: int, height: int) -> Path:
    """Return a picture as PPM, which SDL_image reads: a slope of colours."""
    pixels = bytes(value for y in range(height) for x in range(width) for value in (x % 256, y % 256, 128))
    path.write_bytes(f"P6\n{width} {height} 255\n".encode() + pixels)
    return path


def assert_identical(proof: Proof) -> None:
    virtual = run(proof.command, proof.virtual[0])
    assert virtual.returncode == 0, virtual.stderr
    verdict = judge(b"", virtual.stdout)
    for _ in range(ATTEMPTS):  # on a loaded host the real clock counts its renders late
        verdict = judge(run(proof.command, proof.real).stdout, virtual.stdout)
        if verdict.identical:
            break
    assert verdict.identical, verdict.reason
    frames = len(virtual.stdout) // frame_bytes()
    assert read_report(virtual.stderr) == ClockReport(frames, frames)


@pytest.mark.parametrize("framerate", [25, 30, 60])
def test_every_byte_is_as_on_the_real_clock(library: Path, log: Path, framerate: int) -> None:
    assert_identical(proof_of(library, log, framerate=framerate))


def test_the_proofs_film_has_lights_that_are_drawn_in_part(library: Path, log: Path, tmp_path: Path) -> None:
    narrow = tmp_path / "lights.c"
    text = LIGHTS.read_text()
    narrow.write_text(text.replace("#define LIT_SHARE 0.75f", "#define LIT_SHARE 0.6f"))
    assert narrow.read_text() != text
    command = build_command(tmp_path / "narrow.so")
    subprocess.run([str(narrow) if part == str(LIGHTS) else part for part in command], check=True, timeout=LIMIT)
    whole, cut = (
        run(proof.command, proof.virtual[0])
        for proof in (proof_of(library, log), proof_of(tmp_path / "narrow.so", log))
    )
    assert not judge(whole.stdout, cut.stdout).identical


def test_every_byte_is_as_on_the_real_clock_with_pictures_captions_and_effects(
    library: Path, log: Path, tmp_path: Path
) -> None:
    faces = tmp_path / "faces"
    faces.mkdir()
    picture(faces / "ada.png", 32, 32)
    captions = tmp_path / "captions"
    captions.write_text("1600000000|première 王\n", encoding="utf-8")
    proof = proof_of(library, log)
    pictures = (
        *("--user-image-dir", str(faces), "--caption-file", str(captions)),
        *("--logo", str(picture(tmp_path / "logo.ppm", 40, 20))),
        *("--background-image", str(picture(tmp_path / "background.ppm", 200, 100))),
    )
    command = (proof.command[0], *DECORATED, *pictures, *proof.command[1:])
    assert_identical(Proof(command, proof.real, proof.virtual, proof.framerate))


def test_a_dry_run_counts_the_frames_of_the_render_and_writes_none(library: Path, log: Path) -> None:
    proof = proof_of(library, log)
    render = run(proof.command, proof.virtual[0])
    dry = run(proof.command, count_environment(library, 30))
    frames = len(render.stdout) // frame_bytes()
    assert frames > 50
    assert (dry.returncode, dry.stdout, read_report(dry.stderr)) == (0, b"", ClockReport(frames, 0))


@pytest.mark.parametrize("framerate", [25, 30, 60])
def test_ranges_join_to_the_whole_film_and_end_when_they_are_written(library: Path, log: Path, framerate: int) -> None:
    command = proof_of(library, log, framerate=framerate).command
    whole = run(command, render_environment(library, framerate)).stdout
    total = len(whole) // frame_bytes()
    cuts = [0, 1, total // 3, total // 3 + 1, total]
    parts = b""
    for first, last in itertools.pairwise(cuts):
        part = run(command, render_environment(library, framerate, FrameRange(first, last)))
        assert part.returncode == 0
        assert read_report(part.stderr) == ClockReport(last, last - first)
        parts += part.stdout
    assert parts == whole


def piped(commands: list[tuple[str, ...]], environments: list[dict[str, str]]) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Return what the last of programs joined by pipes wrote, and the exit code and complaints of each."""
    started: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        for command, environment in zip(commands, environments, strict=True):
            upstream = started[-1].stdout if started else subprocess.DEVNULL
            process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdin=upstream,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            started.append(stack.enter_context(process))
            if upstream is not subprocess.DEVNULL:
                upstream.close()
        output, errors = started[-1].communicate(timeout=LIMIT)
        complaint = [process.stderr.read() for process in started[:-1] if process.stderr] + [errors]
        return output, [(process.wait(LIMIT), words) for process, words in zip(started, complaint, strict=True)]


@pytest.mark.parametrize("cores", [2, 3])
@pytest.mark.parametrize("frames", [FrameRange(), FrameRange(7, 60), FrameRange(40, 41)])
def test_a_film_that_several_draw_in_turns_is_the_film_that_one_draws(
    library: Path, log: Path, cores: int, frames: FrameRange
) -> None:
    command = proof_of(library, log).command
    whole = run(command, render_environment(library, 30, frames))
    environments = shared_environments(library, 30, cores, frames)
    shared, ends = piped([command] * cores, list(environments))
    assert [code for code, _ in ends] == [0] * cores, ends
    assert shared == whole.stdout
    total = len(whole.stdout) // frame_bytes()
    reports = [read_report(words) for _, words in ends]
    assert [report.written for report in reports if report] == [Share(n, cores).written(total) for n in range(cores)]
    assert reports[-1] == read_report(whole.stderr)


@pytest.mark.parametrize(("others", "complaint"), [(9, b"a frame is missing"), (11, b"a frame is too many")])
def test_frames_of_another_that_are_missing_or_too_many_are_found_out(
    library: Path, log: Path, others: int, complaint: bytes
) -> None:
    command = proof_of(library, log).command
    first = render_environment(library, 30, FrameRange(0, others))
    second = render_environment(library, 30, FrameRange(0, 20), Share(1, 2))
    _, ends = piped([command] * 2, [first, second])
    assert ends[1][0] == 96
    assert complaint in ends[1][1]


def test_a_range_beyond_the_end_of_the_film_is_an_error_and_its_frames_are_written(library: Path, log: Path) -> None:
    ended = run(proof_of(library, log).command, render_environment(library, 30, FrameRange(90, 5000)))
    report = read_report(ended.stderr)
    assert report is not None
    assert ended.returncode == 95
    assert len(ended.stdout) == report.written * frame_bytes()


@pytest.mark.parametrize(("framerate", "believed"), [(25, 30), (60, 30), (30, 60), (30, 25)])
def test_a_wrong_belief_about_the_frame_rate_is_found_out(
    library: Path, log: Path, framerate: int, believed: int
) -> None:
    ended = run(proof_of(library, log, framerate=framerate).command, render_environment(library, believed))
    assert ended.returncode == 92
    assert b"VC_EVERY" in ended.stderr


@pytest.mark.parametrize("name", ["VC_EVERY", "VC_FIRST", "VC_LAST", "VC_COUNT", "VC_SHARES", "VC_SHARE"])
@pytest.mark.parametrize("value", ["-1", "x", "1x", "99999999999999999999"])
def test_a_setting_that_is_no_number_is_refused(library: Path, log: Path, name: str, value: str) -> None:
    proof = proof_of(library, log)
    ended = run(proof.command, {**proof.virtual[0], name: value})
    assert ended.returncode == 90
    assert name.encode() in ended.stderr


def test_a_full_disk_ends_the_render(library: Path, log: Path) -> None:
    proof = proof_of(library, log)
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            proof.command,
            env={**os.environ, **proof.virtual[0]},
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=LIMIT,
            check=False,
        )
    assert ended.returncode == 93
    assert b"No space left" in ended.stderr


def test_a_reader_that_goes_ends_the_render_at_once(library: Path, log: Path) -> None:
    proof = proof_of(library, log)
    # Python ignores SIGPIPE and its children inherit that: gource by itself would render on, to exit code 0.
    with subprocess.Popen(
        proof.command,
        env={**os.environ, **proof.virtual[0]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        restore_signals=False,
    ) as gource:
        assert gource.stdout is not None
        gource.stdout.read(frame_bytes())
        gource.stdout.close()
        assert gource.wait(LIMIT) == 93


def test_a_terminated_render_is_no_success(library: Path, log: Path) -> None:
    proof = proof_of(library, log)
    with subprocess.Popen(
        proof.command, env={**os.environ, **proof.virtual[0]}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as gource:
        assert gource.stdout is not None
        # SDL has its handlers when a frame is there; the pipe is far smaller than the film.
        begun = gource.stdout.read(frame_bytes())
        gource.send_signal(signal.SIGTERM)
        rest, errors = gource.communicate(timeout=LIMIT)
        assert gource.returncode == 94, errors
    report = read_report(errors)
    assert report is not None
    assert len(begun + rest) == report.written * frame_bytes()


def test_gources_own_exit_code_stays(library: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.log"
    empty.touch()
    proof = proof_of(library, empty)
    assert run(proof.command, proof.virtual[0]).returncode == run(proof.command, dict(HEADLESS)).returncode == 1


def test_a_program_that_does_not_draw_is_left_alone(library: Path) -> None:
    ended = run(("/bin/echo", "hello"), render_environment(library, 30))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"hello\n", b"")
