"""Tools for the tests of plug-ins: `check_task` and `check_visualizer` check that one keeps the rules.

`TaskBench` runs a task in a folder, `make_job` builds a job, `NoRepositories` takes the place of git.
`MemoryBroker` is a broker in memory; its consumers, deliveries and publisher keep the contract of those over RabbitMQ.
"""

from __future__ import annotations

from worker.testing.bench import STALL_SECONDS, TaskBench, refusal
from worker.testing.broker import MemoryBroker, MemoryConsumer, MemoryDelivery, MemoryMessage, MemoryPublisher
from worker.testing.conformance import check_task, check_visualizer
from worker.testing.fakes import NoRepositories, make_job
from worker.testing.result import BenchResult, Report, StagedFile

__all__ = [
    "STALL_SECONDS",
    "BenchResult",
    "MemoryBroker",
    "MemoryConsumer",
    "MemoryDelivery",
    "MemoryMessage",
    "MemoryPublisher",
    "NoRepositories",
    "Report",
    "StagedFile",
    "TaskBench",
    "check_task",
    "check_visualizer",
    "make_job",
    "refusal",
]
