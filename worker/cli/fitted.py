"""Tables for a terminal: as wide as it is, one line a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.cli.tables import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.cli.tables import Column

STYLES: Final = {
    "completed": "green",
    "ok": "green",
    "running": "cyan",
    "publishing": "cyan",
    "retrying": "yellow",
    "paused": "yellow",
    "draining": "yellow",
    "warning": "yellow",
    "dead": "red",
    "error": "red",
    "offline": "red",
    "cancelled": "dim",
}
GAP: Final = 2


def print_fitted(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print the table as wide as the terminal is."""
    console = Console()
    console.print(fitted_table(columns, rows, console.width))


def cut_middle(text: str, width: int) -> str:
    """Return `text` in at most `width` cells; names of one family differ at their end, so … is inside."""
    if cell_len(text) <= width:
        return text
    head = set_cell_size(text, (width - 1) // 2)
    tail = ""
    for letter in reversed(text):
        if cell_len(head + "…" + letter + tail) > width:
            break
        tail = letter + tail
    return f"{head}…{tail}"


def fitted_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> Table:
    """Return a table of `width` cells, in which every row is one line but for columns that fold."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    needed = [max(cell_len(row[at]) for row in [[column.name for column in columns], *cells]) for at in _all(columns)]
    widths = fitted_widths(columns, needed, width)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for at, room in widths.items():
        folds = columns[at].folds
        table.add_column(columns[at].name, width=room, no_wrap=not folds, overflow="fold" if folds else "ellipsis")
    for row in cells:
        table.add_row(*(Text(row[at], style=STYLES.get(row[at].partition(", then ")[0], "")) for at in widths))
    return table


def fitted_widths(columns: Sequence[Column], needed: Sequence[int], width: int) -> dict[int, int]:
    """Return the position of every column that finds room, and its width; `needed` is what each would like."""
    kept = list(_all(columns))
    floors = [min(need, column.least) or need for column, need in zip(columns, needed, strict=True)]

    def spare() -> int:
        return width - sum(floors[at] for at in kept) - GAP * (len(kept) - 1)

    while spare() < 0 and any(columns[at].rank for at in kept):
        kept.remove(max(kept, key=lambda at: columns[at].rank))
    widths = {at: floors[at] for at in kept}
    left = spare()
    while left > 0 and (hungry := [at for at in kept if widths[at] < needed[at]]):
        for at in hungry[:left]:
            widths[at] += 1
        left -= len(hungry[:left])
    if left < 0:
        # Nothing else can give way: the longest name is cut, and its beginning is a name too.
        longest = max(kept, key=lambda at: widths[at])
        widths[longest] = max(1, widths[longest] + left)
    return widths


def _all(columns: Sequence[Column]) -> range:
    return range(len(columns))
