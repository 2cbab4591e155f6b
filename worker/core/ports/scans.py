"""Scans in the database: each is run by one server at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.core.scanning import ScanRecord


class ScanStore(Protocol):
    """Scans, and who runs one now. Times are the database's clock."""

    async def add_scan(self, scan_id: str, document: Mapping[str, Any], most_waiting: int) -> ScanRecord | None:
        """Return a scan that waits now; None where so many wait or run already."""
        ...

    async def scans(self, limit: int) -> list[ScanRecord]:
        """Return the newest scans first, without their results."""
        ...

    async def scan(self, scan_id: str) -> ScanRecord | None:
        """Return a scan with its result; None when there is none."""
        ...

    async def delete_scan(self, scan_id: str) -> bool:
        """Return whether there was one; whoever runs it ends."""
        ...

    async def claim_scan(self, owner: str, lease_seconds: float) -> ScanRecord | None:
        """Return the oldest scan that nobody runs, now the owner's, its runs counted; None where all is done."""
        ...

    async def renew_scan(self, scan_id: str, owner: str, lease_seconds: float, progress: Mapping[str, Any]) -> bool:
        """Return whether the scan is still the owner's, for so long from now; its progress is noted."""
        ...

    async def finish_scan(
        self, scan_id: str, owner: str, result: Mapping[str, Any] | None, problem: str | None, keep: int
    ) -> bool:
        """End a scan, failed where there is a problem; return whether it was still the owner's.

        Of those that ended, the newest `keep` are kept.
        """
        ...
