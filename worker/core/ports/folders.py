"""Watched folders, in the database and in their storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.folder import FileState, Folder, FolderFile, Sighting, StoredFolder
    from worker.core.location import External


class FolderStore(Protocol):
    """Folders, and the files that were seen in them. Times are the database's clock."""

    async def folders(self) -> list[StoredFolder]:
        """Return all of them by name, with how many files are in each state."""
        ...

    async def folder(self, name: str) -> StoredFolder | None:
        """Return one, without its counts."""
        ...

    async def put_folder(self, name: str, folder: Folder) -> None:
        """Store or replace one; what was seen in it stays known, unless the place is another one."""
        ...

    async def delete_folder(self, name: str) -> bool:
        """Return whether there was one; what was seen in it is forgotten."""
        ...

    async def pause_folder(self, name: str, *, paused: bool) -> bool:
        """Return whether there is one; a paused folder is not looked at."""
        ...

    async def claim_folder(self, name: str, owner: str, lease_seconds: float) -> bool:
        """Return whether `owner` may look at it now: nobody else has it, and it is not paused."""
        ...

    async def folder_scanned(
        self, name: str, owner: str, files: int | None, problem: str | None, *, done: bool = True
    ) -> None:
        """Note how many files a look found, so far where it is not `done`, and what was wrong."""
        ...

    async def note_sightings(self, name: str, sightings: Sequence[Sighting]) -> int:
        """Note files; one that is new or has changed begins to settle. Return how many did."""
        ...

    async def settled(self, name: str, settle_seconds: float, limit: int) -> list[FolderFile]:
        """Return files that have kept their size and version for so long, the longest first."""
        ...

    async def seconds_to_settle(self, name: str, settle_seconds: float) -> float | None:
        """Return when the next file will have settled; None when none is settling."""
        ...

    async def sidecars(self, name: str, path: str, settle_seconds: float) -> tuple[list[Sighting], bool]:
        """Return the sidecars of a film, and whether all of them have settled."""
        ...

    async def decide(
        self,
        name: str,
        file: FolderFile,
        state: FileState,
        *,
        job_id: str | None = None,
        reason: str | None = None,
        sidecars: Sequence[Sighting] = (),
    ) -> bool:
        """Return whether the file was still as it was, and its state is set; `settling` begins anew."""
        ...

    async def forget_file(self, name: str, path: str) -> None:
        """Forget a file; should it be seen again, it is new."""
        ...

    async def waiting_jobs(self, name: str) -> int:
        """Return how many jobs of the folder are waiting."""
        ...

    async def finished_files(self, name: str, limit: int) -> list[FolderFile]:
        """Return submitted files whose jobs are completed."""
        ...

    async def folder_files(self, name: str, state: str | None, limit: int) -> list[FolderFile]:
        """Return files, those that changed last first."""
        ...

    async def maker_of(self, uri: str, size: int) -> str | None:
        """Return the job that made, or is about to publish, this very file; None when none did."""
        ...


class FolderFiles(Protocol):
    """The actions on the watched files themselves."""

    async def admit(self, folder: str) -> External:
        """Return a folder in its normal form, by which artifacts are named; RefusedPath outside the roots."""
        ...

    async def is_written(self, place: External) -> bool:
        """Return whether some program of this host has the file open for writing; False where that is not known."""
        ...

    async def move(self, place: External, folder: External, path: str) -> External:
        """Return where the file is after it was moved below `folder`; nothing that is there is replaced."""
        ...

    async def delete(self, job_id: str, place: External) -> None:
        """Delete a file; it is kept for `undo` of this job."""
        ...
