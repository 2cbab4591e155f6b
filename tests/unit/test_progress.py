from hypothesis import given
from hypothesis import strategies as st

from worker.media.ffmpeg.progress import Meter

BLOCK = """frame={frame}
fps=29.97
stream_0_0_q=28.0
bitrate= 708.7kbits/s
total_size=177391
out_time_us={micros}
out_time_ms={micros}
out_time=00:00:01.000000
dup_frames=0
drop_frames=0
speed=1.25x
progress={state}"""


def feed(meter: Meter, frame: object, micros: object, state: str = "continue") -> list[bool]:
    return [meter.line(line) for line in BLOCK.format(frame=frame, micros=micros, state=state).splitlines()]


def test_a_report_is_complete_at_its_last_line_only():
    meter = Meter(frames=60)
    assert feed(meter, 30, 1_000_000) == [False] * 11 + [True]
    step = meter.step
    assert (step.frame, step.fps, step.seconds, step.bytes, step.speed, step.ended) == (
        30,
        29.97,
        1.0,
        177391,
        1.25,
        False,
    )
    assert meter.fraction == 0.5


def test_a_figure_that_ffmpeg_does_not_know_is_none():
    meter = Meter(frames=60)
    for line in ("frame=N/A", "out_time_us=N/A", "out_time=N/A", "speed=N/A", "total_size=N/A", "progress=end"):
        meter.line(line)
    assert (meter.step.frame, meter.step.seconds, meter.step.speed, meter.step.bytes) == (None, None, None, None)
    assert meter.step.ended
    assert meter.fraction is None


def test_frames_count_before_time_for_sound_runs_ahead():
    meter = Meter(frames=100, seconds=4.0)
    feed(meter, 10, 4_000_000)
    assert meter.fraction == 0.1


def test_time_counts_where_frames_are_unknown():
    meter = Meter(seconds=4.0)
    feed(meter, 10, 1_000_000)
    assert meter.fraction == 0.25


def test_without_a_total_there_is_no_fraction():
    meter = Meter()
    feed(meter, 10, 1_000_000)
    assert meter.fraction is None


@given(st.lists(st.tuples(st.integers(-5, 200), st.integers(-(10**7), 10**8)), min_size=1))
def test_the_fraction_never_falls_and_stays_in_bounds(steps):
    meter, last = Meter(frames=100), 0.0
    for frame, micros in steps:
        feed(meter, frame, micros)
        assert meter.fraction is not None
        assert last <= meter.fraction <= 1.0
        last = meter.fraction


@given(st.text())
def test_no_line_breaks_the_meter(line):
    meter = Meter(frames=10)
    meter.line(line)
    meter.line(f"frame={line}")
    meter.line(f"out_time={line}")
    meter.line("progress=continue")
