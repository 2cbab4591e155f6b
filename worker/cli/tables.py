"""Tables: on a terminal fitted to its width (`fitted`), elsewhere aligned text that is never cut."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.cells import cell_len

from worker.cli.words import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH: Final = 100


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


def one_line(text: str) -> str:
    """Return `text` without breaks and without what would steer a terminal."""
    return " ".join(printable(text).split())


def cut(text: str, width: int) -> str:
    """Return `text` on one line of at most `width` characters; … says that there was more."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


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
        from worker.cli.fitted import print_fitted  # noqa: PLC0415 - 4 MB and a tenth of a second that no pipe needs

        print_fitted(described, rows)
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
