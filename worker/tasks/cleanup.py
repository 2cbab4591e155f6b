"""The module `cleanup`: files checked, copied, moved and removed, as a part of the job's one transaction.

What an earlier task staged is re-targeted or dropped; an external file is touched only once the job is recorded.
"""

from __future__ import annotations

import asyncio
import errno
import shutil
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar

from pydantic import AliasChoices, Field

from worker.core.errors import DiskFull, SourceMissing, StorageUnavailable
from worker.core.job import Model, Place
from worker.core.task import Files, FileUse, Task, TaskContext

if TYPE_CHECKING:
    from collections.abc import Iterator


class Transfer(Model):
    """A file, and where it goes; a destination that ends in `/` is a folder."""

    source: Place = Field(description="The file.")
    destination: Place = Field(description="Where it goes.")
    overwrite: bool = Field(False, description="Whether a file that is there may be replaced.")

    @property
    def target(self) -> str:
        """Return the destination's full name."""
        name = PurePosixPath(self.source).name
        return self.destination + name if self.destination.endswith("/") else self.destination


class CleanupParams(Model):
    """The data of a cleanup task. Its parts are done in this order."""

    verify_exists: list[Place] = Field(default_factory=list, max_length=1000, description="Files that must be there.")
    copy_: list[Transfer] = Field(
        default_factory=list,
        max_length=1000,
        alias="copy",
        validation_alias=AliasChoices("copy", "copy_files"),
        description="Files to copy.",
    )
    move: list[Transfer] = Field(
        default_factory=list,
        max_length=1000,
        validation_alias=AliasChoices("move", "move_files"),
        description="Files to move.",
    )
    delete: list[Place] = Field(
        default_factory=list,
        max_length=1000,
        validation_alias=AliasChoices("delete", "delete_files"),
        description="Files to remove; one that is not there is no error.",
    )


class CleanupTask(Task[CleanupParams]):
    """Tidies up after the tasks before it."""

    module: ClassVar[str] = "cleanup"
    params = CleanupParams
    weight: ClassVar[float] = 0.1

    def files(self, params: CleanupParams) -> Files:
        """Return what is checked, copied, moved and removed."""
        reads = [FileUse(f"verify_exists[{index}]", item) for index, item in enumerate(params.verify_exists)]
        writes, removes = [], []
        for name, transfers in (("copy", params.copy_), ("move", params.move)):
            for index, item in enumerate(transfers):
                source = FileUse(f"{name}[{index}].source", item.source)
                reads.append(source)
                writes.append(FileUse(f"{name}[{index}].destination", item.target, item.overwrite))
                removes += [source] if name == "move" else []
        for index, location in enumerate(params.delete):
            removes.append(FileUse(f"delete[{index}]", location))
        return Files(tuple(reads), tuple(writes), tuple(removes))

    async def run(self, params: CleanupParams, context: TaskContext) -> None:
        """Check, copy, move, delete: in this order."""
        for location in params.verify_exists:
            await _check(location, context)
        steps = len(params.copy_) + len(params.move)
        for index, item in enumerate((*params.copy_, *params.move)):
            moves = index >= len(params.copy_)
            if moves and context.exists(item.source):
                context.retarget(item.source, item.target)
            else:
                await _copy(item, context)
                if moves:
                    context.delete_after(item.source)
            context.report((index + 1) / steps)
        for location in params.delete:
            if not context.withdraw(location):
                context.delete_after(location)
        context.report(1.0)


async def _check(location: str, context: TaskContext) -> None:
    if context.exists(location):
        path = await context.input(location)
        there = await asyncio.to_thread(path.is_file)
    else:
        there = await context.available(location)
    if not there:
        raise SourceMissing(f"{location} does not exist")


async def _copy(item: Transfer, context: TaskContext) -> None:
    """Stage a copy. No link: a later task that rewrites one name would change the other."""
    source = await context.input(item.source)
    target = context.output(item.target)
    with _storage_errors(item):
        await asyncio.to_thread(shutil.copyfile, source, target)
        sizes = await asyncio.to_thread(lambda: (Path(source).stat().st_size, Path(target).stat().st_size))
    if sizes[0] != sizes[1]:
        raise StorageUnavailable(f"the copy of {item.source} has {sizes[1]} of {sizes[0]} bytes")


@contextmanager
def _storage_errors(item: Transfer) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise SourceMissing(f"{item.source} does not exist") from error
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        kind = DiskFull if full else StorageUnavailable
        raise kind(f"copying {item.source} to {item.target} failed: {error.strerror}") from error
