"""The composition root: Settings become a running worker. The only package that names concrete classes."""

from worker.adapters.threads import abandon_threads, leave
from worker.app.components import capabilities, publisher, refuse_missing_sqlite, registry, repository
from worker.app.doctor import checks, reconciler
from worker.app.worker import assembled, run_worker

__all__ = [
    "abandon_threads",
    "assembled",
    "capabilities",
    "checks",
    "leave",
    "publisher",
    "reconciler",
    "refuse_missing_sqlite",
    "registry",
    "repository",
    "run_worker",
]
