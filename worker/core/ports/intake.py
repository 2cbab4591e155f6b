"""Templates, the origins of jobs, and known sources, in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from worker.core.identity import SourceRecord
    from worker.core.template import Origin, OriginState, StoredTemplate


class TemplateStore(Protocol):
    """Templates and their versions, and which job was made of which."""

    async def templates(self) -> list[StoredTemplate]:
        """Return the newest version of each template by name; deleted ones are left out."""
        ...

    async def template(self, name: str, version: int | None = None) -> StoredTemplate | None:
        """Return the newest version of a template, or that one; None when it is deleted or never was."""
        ...

    async def put_template(self, name: str, document: Mapping[str, Any]) -> StoredTemplate:
        """Store a document as the next version; the newest one where that says the same."""
        ...

    async def delete_template(self, name: str) -> bool:
        """Delete a template, its versions staying for the jobs that were made of them; return whether there was one."""
        ...

    async def note_origins(self, origins: Sequence[Origin]) -> None:
        """Write down where jobs came from; what is known of a job stays."""
        ...

    async def origins(self, template: str, fingerprints: Collection[str]) -> list[OriginState]:
        """Return the jobs that were made of these sources with a template, the newest first."""
        ...

    async def origin(self, job_id: str) -> Origin | None:
        """Return where a job came from; None where nobody wrote it down."""
        ...

    async def savings(self, template: str, limit: int) -> list[OriginState]:
        """Return the newest completed jobs of a template, with the bytes that they published."""
        ...


class SourceStore(Protocol):
    """The known sources, by URI."""

    async def sources(self, uris: Collection[str]) -> dict[str, SourceRecord]:
        """Return what is known of these, by URI."""
        ...

    async def remember(self, records: Sequence[SourceRecord]) -> None:
        """Store what is known of sources now, in place of what was known."""
        ...

    async def forget_sources(self, older_than_seconds: float) -> int:
        """Delete what nobody has seen for so long; return how many."""
        ...
