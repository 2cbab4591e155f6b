"""A command, whose function is imported when it is called."""

from __future__ import annotations

import gc
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

RARELY: Final = 100_000
"""Objects between two searches for garbage; Python's own 700 searches hundreds of times while modules are imported."""


class Command(NamedTuple):
    """A command as a person types it, and `module:function` below `worker.cli`."""

    name: str
    function: str
    help: str
    epilog: str = ""
    asks_only_the_database: bool = False
    """It logs nothing, and runs without structlog."""

    @property
    def word(self) -> str:
        """Return the first word: the command itself, or its group."""
        return self.name.partition(" ")[0]

    def load(self) -> Callable[..., Any]:
        """Return the function, with all that it imports."""
        # Nothing of a module becomes garbage: looking for it takes up to a tenth of the time.
        gc.disable()
        try:
            if self.asks_only_the_database:
                # It imports the database later, when it knows that it goes over no server.
                gc.set_threshold(RARELY)
            else:
                import_module("worker.logs").for_commands()
            module, _, name = self.function.partition(":")
            function: Callable[..., Any] = getattr(import_module(f"worker.cli.{module}"), name)
        finally:
            gc.enable()
        return function
