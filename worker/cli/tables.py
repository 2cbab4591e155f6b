"""Tables: fitted to a terminal's width, one line a row; aligned text that is never cut elsewhere."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
STYLES: Final = {
    "completed": "green",
    "ok": "green",
    "running": "cyan",
    "publishing": "cyan",
    "in_progress": "cyan",
    "retrying": "yellow",
    "paused": "yellow",
    "draining": "yellow",
    "warning": "yellow",
    "dead": "red",
    "error": "red",
    "offline": "red",
    "cancelled": "dim",
}
WIDTH: Final = 100
GAP: Final = 2


class Column(NamedTuple):
    """A column as a terminal shows it.

    `least` is how narrow it may become, in cells; at 0 it is never cut. Of those with a `rank` the highest is left
    out first where even so not all find room. With `folds` a long cell goes on below instead of ending with ….
    """

    name: str
    least: int = 0
    rank: int = 0
    folds: bool = False


def on_terminal() -> bool:
    """Return whether a person looks at standard output."""
    return sys.stdout.isatty()


def printable(text: str) -> str:
    """Return `text` without what would steer a terminal: titles and errors come from foreign messages."""
    return _CONTROL.sub(lambda match: repr(match.group())[1:-1], text)


def one_line(text: str) -> str:
    """Return `text` without breaks and without what would steer a terminal."""
    return " ".join(printable(text).split())


def cut(text: str, width: int) -> str:
    """Return `text` on one line of at most `width` characters; … says that there was more."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def cut_middle(text: str, width: int) -> str:
    """Return `text` in at most `width` cells; names of one family differ at their end, so … stands inside."""
    if cell_len(text) <= width:
        return text
    head = set_cell_size(text, (width - 1) // 2)
    tail = ""
    for letter in reversed(text):
        if cell_len(head + "…" + letter + tail) > width:
            break
        tail = letter + tail
    return f"{head}…{tail}"


def say_table(
    columns: Sequence[Column | str], rows: Sequence[Sequence[str]], nothing: str, *, cut_last: bool = False
) -> None:
    """Print rows under their columns, or `nothing` where there is none.

    Off the terminal every column is whole, but with `cut_last` the last, of which 100 characters are.
    """
    described = [column if isinstance(column, Column) else Column(column) for column in columns]
    if not rows:
        sys.stdout.write(nothing + "\n")
    elif on_terminal():
        console = Console()
        console.print(fitted_table(described, rows, console.width))
    else:
        shown = [(*row[:-1], cut(row[-1], WIDTH)) for row in rows] if cut_last else rows
        for line in aligned([[column.name for column in described], *shown]):
            sys.stdout.write(line + "\n")


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return one line a row, its cells aligned; a cell is never cut and never spans lines."""
    cells = [[one_line(cell) or "-" for cell in row] for row in rows]
    widths = [max(cell_len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


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
