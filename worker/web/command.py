"""The commands `serve` and `token`. Nothing of the server is imported before one of them runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

Address = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Goes before WORKER_SERVE_ADDRESS.", show_default=False)
]


def add_to(cli: typer.Typer) -> None:
    """Add the commands."""

    def serve(address: Address = None) -> None:
        """Answer until Ctrl-C."""
        import asyncio  # noqa: PLC0415 - as above

        from worker.web.quick_start import quick_imports  # noqa: PLC0415 - as above

        quick_imports()

        from worker.settings import load  # noqa: PLC0415 - as above
        from worker.web.server import serve as answer  # noqa: PLC0415 - as above

        asyncio.run(answer(load(**({"serve_address": address} if address else {}))))

    def token(
        role: Annotated[str, typer.Argument(help="viewer, operator or admin.")],
        name: Annotated[str, typer.Argument(help="Who it is for; the page shows it.")] = "me",
    ) -> None:
        """Print a token and its line."""
        from worker.settings.serve import parse_token  # noqa: PLC0415 - as above
        from worker.web.access import digest_of, new_token  # noqa: PLC0415 - as above

        made = new_token()
        line = f"{role}:{name}:{digest_of(made)}"
        try:
            parse_token(line, "this")
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        sys.stdout.write(f"token  {made}\nline   {line}\n")

    cli.command(
        "serve",
        help="Serve the page and the API. It holds no job and may be ended and started at any time.",
        epilog="Example: leveret serve --address 127.0.0.1:8080",
    )(serve)
    cli.command(
        "token",
        help="Print a new token, and the line that lets it in. The token goes to the person, the line into "
        "WORKER_SERVE_TOKENS_FILE or WORKER_SERVE_TOKENS; only the line is stored.",
        epilog="Example: leveret token operator anna",
    )(token)
