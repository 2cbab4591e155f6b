"""Arguments and options that several commands have in common."""

from __future__ import annotations

from typing import Annotated

import typer

JobId = Annotated[
    str, typer.Argument(metavar="ID", help="The job's id, or its first characters: four or more.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
