import asyncio
import fcntl
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from worker.core.command import Command, Pipeline, Reason
from worker.core.errors import ToolMissing
from worker.media.failure import is_host_shortage
from worker.process.runner import ProcessRunner
from worker.process.watch import marked

PYTHON = sys.executable


@pytest.fixture
def runner():
    return ProcessRunner({"PATH": os.environ["PATH"]}, nice=0, grace_seconds=0.5)


def python(code: str, **fields) -> Command:
    return Command((PYTHON, "-c", code), **fields)


def alone(code: str, **fields) -> Pipeline:
    return Pipeline((python(code, **fields),))


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "never came true"
        await asyncio.sleep(0.01)


def alive(label: str) -> list[int]:
    return [pid for pid, value in marked("LEVERET_ATTEMPT") if value == label]


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_code_output_and_complaints_of_a_program_come_back(runner):
    (ended,) = await runner.run(alone("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"))
    assert (ended.code, ended.signal, ended.output, ended.tail) == (3, None, "out\n", "err\n")
    assert not ended.ok
    assert ended.reason is Reason.EXITED
    assert ended.cpu_seconds > 0


async def test_a_code_that_the_command_calls_success_is_one(runner):
    (ended,) = await runner.run(alone("raise SystemExit(1)", success=frozenset({0, 1})))
    assert ended.ok


async def test_a_program_killed_by_a_signal_says_so(runner):
    (ended,) = await runner.run(alone("import os; os.kill(os.getpid(), 9)"))
    assert (ended.code, ended.signal) == (None, 9)
    assert "SIGKILL" in str(ended)


async def test_lines_end_at_carriage_returns_too(runner):
    lines: list[str] = []
    await runner.run(alone(r"import sys; sys.stdout.write('a=1\rb=2\r\nc=3\nd=4')"), lines.append)
    assert lines == ["a=1", "b=2", "c=3", "d=4"]


async def test_ten_megabytes_without_a_newline_on_stderr_neither_block_nor_fill_memory(runner):
    code = "import sys; sys.stderr.write('first|' + 'x' * 10_000_000 + '|last'); print('done')"
    (ended,) = await asyncio.wait_for(runner.run(alone(code)), 20)
    assert ended.ok
    assert ended.output == "done\n"
    assert len(ended.tail) < 100_000
    assert ended.tail.startswith("first|")
    assert ended.tail.endswith("|last")


async def test_bytes_that_are_no_utf8_and_controls_become_text(runner):
    code = r"import sys; sys.stderr.buffer.write(b'a\xff\x00\x1b[1mb\rc\n')"
    (ended,) = await runner.run(alone(code))
    assert ended.tail == "a�[1mb\nc\n"


async def test_only_the_last_bytes_of_the_output_are_kept(runner):
    (ended,) = await runner.run(Pipeline((python("print('a' * 5000 + 'end')"),), capture_bytes=100))
    assert len(ended.output) == 100
    assert ended.output.endswith("end\n")


async def test_secrets_are_hidden_in_complaints_and_output(runner):
    code = "import sys; print('is hunter2'); print('https://u:hunter2@host/?token=abc hunter2', file=sys.stderr)"
    (ended,) = await runner.run(alone(code, secrets=("hunter2",)))
    assert "hunter2" not in ended.tail + ended.output
    assert "abc" not in ended.tail


async def test_standard_input_is_what_the_command_says_or_empty(runner):
    echo = "import sys; print(len(sys.stdin.buffer.read()))"
    (long,) = await runner.run(alone(echo, stdin=b"x" * 3_000_000))
    (none,) = await runner.run(alone(echo))
    assert (long.output, none.output) == ("3000000\n", "0\n")


async def test_a_program_sees_the_given_environment_and_its_folder_only(runner, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKER_BROKER_URL", "amqp://secret")
    code = "import os; print('WORKER_BROKER_URL' in os.environ, os.environ['ADDED'], os.getcwd())"
    (ended,) = await runner.run(alone(code, environment={"ADDED": "yes"}, folder=tmp_path))
    assert ended.output == f"False yes {tmp_path}\n"


@pytest.mark.parametrize("kind", ["absent", "not executable", "garbage", "no interpreter"])
async def test_a_program_that_does_not_start_is_a_missing_tool(runner, tmp_path, kind):
    program = tmp_path / "program"
    if kind != "absent":
        program.write_bytes(b"#!/nowhere/at/all\n" if kind == "no interpreter" else b"\x01\x02garbage")
        program.chmod(0o644 if kind == "not executable" else 0o755)
    with pytest.raises(ToolMissing, match="program"):
        await runner.run(Pipeline.of(str(program)))


async def test_a_missing_second_stage_starts_nothing(runner, tmp_path):
    touch = python(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ToolMissing):
        await runner.run(Pipeline((touch, Command((str(tmp_path / "absent"),)))))
    assert not (tmp_path / "ran").exists()


async def test_stages_are_joined_by_a_pipe_of_a_mebibyte(runner):
    size = f"import fcntl, sys; sys.stdin.read(); print(fcntl.fcntl(0, {fcntl.F_GETPIPE_SZ}))"
    first, last = await runner.run(Pipeline((python("print('x')"), python(size))))
    assert first.ok
    assert last.output == "1048576\n"


async def test_the_writer_of_a_pipe_is_ended_within_a_second_of_its_reader_s_death(runner):
    started = time.monotonic()
    idle = "import time; time.sleep(60)"
    first, last = await runner.run(Pipeline((python(idle), python("import sys; sys.exit(4)"))))
    assert time.monotonic() - started < 1.5
    assert (last.code, last.reason) == (4, Reason.EXITED)
    assert first.reason is Reason.CANCELLED
    assert not first.ok


async def test_the_reader_of_a_pipe_is_ended_after_its_writer_s_death(runner):
    reader = "import signal, time; time.sleep(60)"
    first, last = await asyncio.wait_for(runner.run(Pipeline((python("raise SystemExit(5)"), python(reader)))), 5)
    assert (first.code, last.reason) == (5, Reason.CANCELLED)


async def test_a_writer_that_nobody_reads_any_more_is_ended(runner):
    first, last = await asyncio.wait_for(
        runner.run(Pipeline((python("import time; time.sleep(60)"), python("pass")))), 5
    )
    assert last.ok
    assert first.reason is Reason.CANCELLED


async def test_a_time_out_ends_a_program_that_ignores_term(runner):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    (ended,) = await asyncio.wait_for(runner.run(alone(code), timeout=0.5), 5)
    assert (ended.reason, ended.signal) == (Reason.TIMED_OUT, 9)
    assert "timed out" in str(ended)


async def test_a_program_without_progress_is_stalled(runner):
    code = "import time\nfor i in range(1200): print('frame=7', f'fps={i}', sep='\\n', flush=True); time.sleep(.05)"
    (ended,) = await asyncio.wait_for(runner.run(alone(code), lambda _: None, stall=1.0), 10)
    assert ended.reason is Reason.STALLED


@pytest.mark.parametrize(
    "code",
    [
        "import time\nfor i in range(20): print(f'frame={i}', flush=True); time.sleep(.1)",
        "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass",
        "import os, time\nf = open('/dev/null', 'wb')\nfor i in range(20): f.write(b'x' * 65536); time.sleep(.1)",
    ],
    ids=["frames", "cpu", "bytes"],
)
async def test_figures_cpu_time_and_bytes_are_signs_of_life(runner, code):
    (ended,) = await asyncio.wait_for(runner.run(alone(code), lambda _: None, stall=0.8), 20)
    assert ended.ok


async def test_a_grandchild_that_left_its_session_and_ignores_term_does_not_survive(runner):
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    code = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, '-c', {deaf!r}], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
"""
    pids: list[int] = []
    (ended,) = await asyncio.wait_for(runner.run(alone(code), lambda line: pids.append(int(line)), label="j.1"), 10)
    assert ended.ok
    assert not psutil.pid_exists(pids[0]) or psutil.Process(pids[0]).status() == psutil.STATUS_ZOMBIE
    assert not alive("j.1")


async def test_cancelling_kills_first_and_raises_then(runner):
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    up = asyncio.Event()
    task = asyncio.create_task(runner.run(alone(code), lambda _: up.set(), label="j.2"))
    await up.wait()
    assert alive("j.2")
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()  # impatience does not cut the killing short
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive("j.2")


async def test_a_reader_of_lines_that_raises_ends_the_program_and_is_heard(runner):
    def refuse(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="up"):
        await asyncio.wait_for(
            runner.run(alone("import time; print('up', flush=True); time.sleep(60)"), refuse, label="j.3"), 5
        )
    assert not alive("j.3")


async def test_the_sweep_kills_what_no_live_attempt_owns(runner):
    code = "import time; print('up', flush=True); time.sleep(60)"
    up = [asyncio.Event(), asyncio.Event()]
    tasks = [
        asyncio.create_task(runner.run(alone(code), lambda _, e=event: e.set(), label=label))
        for event, label in zip(up, ("dead.1", "live.1"), strict=True)
    ]
    await asyncio.gather(*(event.wait() for event in up))
    ours = {"dead.1"}
    assert await runner.sweep(lambda label: label not in ours) == 1
    (ended,) = await tasks[0]
    assert ended.signal == 9
    assert alive("live.1")
    tasks[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]


async def test_a_program_dies_with_the_process_that_started_it(tmp_path):
    code = f"""
import asyncio, sys
from worker.core.command import Pipeline
from worker.process.runner import ProcessRunner
asyncio.run(ProcessRunner({{'PATH': {os.environ["PATH"]!r}}}).run(Pipeline.of('sleep', '60', label='orphan.1')))
"""
    parent = await asyncio.create_subprocess_exec(PYTHON, "-c", code, cwd=Path(__file__).parents[2])
    await until(lambda: bool(alive("orphan.1")))
    parent.kill()
    await parent.wait()
    await until(lambda: not alive("orphan.1"))


async def test_niceness_and_the_bound_on_files_reach_the_program(tmp_path):
    runner = ProcessRunner({"PATH": os.environ["PATH"]}, nice=7, file_bytes=1000)
    code = f"""
import os
print(os.nice(0), flush=True)
with open({str(tmp_path / "big")!r}, "wb", buffering=0) as file:
    file.write(b"x" * 1000)
    file.write(b"x")
"""
    (ended,) = await runner.run(alone(code))
    assert ended.output == "7\n"
    assert not ended.ok
    assert (tmp_path / "big").stat().st_size <= 1000


async def test_no_descriptor_is_left_open(runner):
    await runner.run(alone("pass"))
    before = open_descriptors()
    for _ in range(5):
        await runner.run(Pipeline((python("print(1)"), python("pass", stdin=b""))))
    assert open_descriptors() == before


async def test_a_program_does_not_get_more_memory_than_its_bound():
    runner = ProcessRunner({"PATH": os.environ["PATH"]}, memory_bytes=1 << 30)

    def reversed_film(size: str) -> Pipeline:
        """A filter that jobs may use, and that keeps every frame until the last."""
        source = ("-f", "lavfi", "-i", f"testsrc2=s={size}:d=20")
        return Pipeline.of("ffmpeg", "-nostdin", "-v", "error", *source, "-vf", "reverse", "-f", "null", "-")

    (ended,) = await runner.run(reversed_film("1920x1080"))
    # ffmpeg 5.1 exits 0 all the same: it is the proof of the output that fails the job.
    assert is_host_shortage(ended.complaint)
    (ended,) = await runner.run(reversed_film("160x90"))
    assert ended.ok
    assert ended.tail == ""
    (ended,) = await runner.run(alone("bytearray(2 << 30)"))
    assert not ended.ok
    assert "MemoryError" in ended.tail


async def test_the_kernel_kills_a_program_before_the_worker_when_memory_runs_out(runner):
    code = """
import time
deadline = time.monotonic() + 5
while (score := int(open("/proc/self/oom_score_adj").read())) < 500 and time.monotonic() < deadline:
    pass
print(score)
"""
    (ended,) = await runner.run(alone(code))
    assert ended.output == "500\n"
    assert int(await asyncio.to_thread(Path("/proc/self/oom_score_adj").read_text)) < 500
