"""The screens in their order: a screen that is added here is in the bar, or a tab below one that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.web.access import Role


@dataclass(frozen=True, slots=True)
class Entry:
    """A link to a screen, shown to whoever has the role; `tabs` are the screens of the same subject, itself first."""

    path: str
    name: str
    role: Role = "viewer"
    tabs: tuple[Entry, ...] = ()

    def holds(self, path: str) -> bool:
        """Return whether `path` is this screen or one of its tabs."""
        return path == self.path or any(tab.path == path for tab in self.tabs)


@dataclass(frozen=True, slots=True)
class Shown:
    """A link as one person sees it on one screen."""

    path: str
    name: str
    current: bool


SCREENS: Final = (
    Entry("/", "Now"),
    Entry("/jobs", "Jobs"),
    Entry(
        "/new",
        "New",
        "operator",
        (
            Entry("/new", "From a message", "operator"),
            Entry("/templates", "From a template", "operator"),
            Entry("/scans", "Scan a library", "operator"),
        ),
    ),
    Entry("/dead", "Dead letters"),
    Entry("/fleet", "Fleet"),
    Entry(
        "/settings",
        "Settings",
        "admin",
        (
            Entry("/settings", "Options and versions", "admin"),
            Entry("/settings/automatic", "Folders, hooks, schedules", "admin"),
        ),
    ),
)


def bar(here: str, may: Callable[[Role], bool], screens: tuple[Entry, ...] = SCREENS) -> list[Shown]:
    """Return the links of the bar; that of the screen `here`, or of the one that has it as a tab, is current."""
    return [Shown(entry.path, entry.name, entry.holds(here)) for entry in screens if may(entry.role)]


def tabs(here: str, may: Callable[[Role], bool], screens: tuple[Entry, ...] = SCREENS) -> list[Shown]:
    """Return the tabs of the screen `here`; none where there is only one."""
    entry = next((entry for entry in screens if entry.holds(here)), None)
    found = [tab for tab in entry.tabs if may(tab.role)] if entry else []
    return [Shown(tab.path, tab.name, tab.path == here) for tab in found] if len(found) > 1 else []
