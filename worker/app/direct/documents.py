"""The use cases that need the modules alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.control import schemas
from worker.control import validate as validation

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.control.validate import Validation
    from worker.registry import Registry


class DirectDocuments:
    """`DocumentOperations` for whoever has the modules."""

    def __init__(self, modules: Callable[[], Registry]) -> None:
        self._modules = modules

    async def validate(self, body: bytes) -> Validation:
        """Return what is known of a message."""
        return validation.validate(self._modules(), body)

    async def message_schema(self) -> dict[str, Any]:
        """Return the schema of a message."""
        return schemas.message_schema(self._modules())

    async def module_schema(self, name: str) -> dict[str, Any]:
        """Return the schema of a module's data."""
        return schemas.module_schema(self._modules(), name)
