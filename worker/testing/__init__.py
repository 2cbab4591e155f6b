"""What a plug-in's tests need: `check_task` and `check_visualizer`, which say whether it keeps the rules, and fakes.

`TaskBench` runs a task in a folder, `make_job` builds a job, `NoRepositories` takes the place of git.
"""

from __future__ import annotations

from worker.testing.bench import STALL_SECONDS, TaskBench, refusal
from worker.testing.conformance import check_task, check_visualizer
from worker.testing.fakes import NoRepositories, make_job
from worker.testing.result import BenchResult, Report, StagedFile

__all__ = [
    "STALL_SECONDS",
    "BenchResult",
    "NoRepositories",
    "Report",
    "StagedFile",
    "TaskBench",
    "check_task",
    "check_visualizer",
    "make_job",
    "refusal",
]
