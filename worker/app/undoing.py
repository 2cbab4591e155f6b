"""The files that `undo` puts back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.app.places import originals, storages
from worker.core.errors import RefusedPath
from worker.engine.attempt.originals import token_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.core.location import External
    from worker.core.ports import Stat
    from worker.core.ports.originals import Original, OriginalKeeper
    from worker.engine.storages import Storages
    from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """`worker.control.undo.Originals` over the storages of this host."""

    storages: Storages
    keepers: Mapping[str, OriginalKeeper]

    @classmethod
    def of(cls, settings: Settings) -> KeptFiles:
        """Return them; what was kept before the setting became 0 can still be put back."""
        keepers = {scheme: keeper for keeper in originals(settings) for scheme in keeper.schemes}
        return cls(storages(settings), keepers)

    def _keeper(self, original: Original) -> tuple[External, str, OriginalKeeper]:
        place = self.storages.place(original.uri)
        keeper = self.keepers.get(place.scheme)
        if keeper is None:
            raise RefusedPath(f"{original.uri}: {place.scheme}:// is not set up here")
        return place, token_of(original.job_id, original.uri), keeper

    async def kept(self, original: Original) -> Stat | None:
        """Return what is kept of it, or None."""
        place, token, keeper = self._keeper(original)
        return await keeper.kept(place, token)

    async def current_stat(self, original: Original) -> Stat | None:
        """Return what is at its place now, or None."""
        place = self.storages.place(original.uri)
        return await self.storages.serving(place).stat(place)

    async def put_back(self, original: Original, *, replace: bool) -> bool:
        """Return whether it is at its place again."""
        place, token, keeper = self._keeper(original)
        return await keeper.put_back(place, token, replace=replace)

    async def drop(self, original: Original) -> None:
        """Delete what is kept of it."""
        place, token, keeper = self._keeper(original)
        await keeper.drop(place, token)
