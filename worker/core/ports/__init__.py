"""The ports of the engine. Each port has one contract suite, run on every implementation."""

from worker.core.ports.attempts import AttemptStore
from worker.core.ports.broker import BrokerAdmin, Consumer, Delivery, Events, JobPublisher
from worker.core.ports.claims import (
    Announced,
    Buried,
    Claim,
    ClaimRequest,
    DatabaseFacts,
    Declined,
    Finished,
    Granted,
    Kept,
    Overdue,
    Renewal,
    Waiting,
)
from worker.core.ports.fleet import FleetStore
from worker.core.ports.intake import SourceStore, TemplateStore
from worker.core.ports.jobs import JobStore
from worker.core.ports.observer import Observer, Unobserved
from worker.core.ports.production import HeldLease, Produced, Production
from worker.core.ports.programs import Clone, Repositories, Runner
from worker.core.ports.reconcile import ReconcileStore
from worker.core.ports.repository import Repository
from worker.core.ports.storage import Confirm, RangedStorage, Stat, Storage

__all__ = [
    "Announced",
    "AttemptStore",
    "BrokerAdmin",
    "Buried",
    "Claim",
    "ClaimRequest",
    "Clone",
    "Confirm",
    "Consumer",
    "DatabaseFacts",
    "Declined",
    "Delivery",
    "Events",
    "Finished",
    "FleetStore",
    "Granted",
    "HeldLease",
    "JobPublisher",
    "JobStore",
    "Kept",
    "Observer",
    "Overdue",
    "Produced",
    "Production",
    "RangedStorage",
    "ReconcileStore",
    "Renewal",
    "Repositories",
    "Repository",
    "Runner",
    "SourceStore",
    "Stat",
    "Storage",
    "TemplateStore",
    "Unobserved",
    "Waiting",
]
