"""Text files for tools that would take any bytes: in UTF-8, or refused."""

from __future__ import annotations

import asyncio
import codecs
from typing import TYPE_CHECKING

from worker.core.errors import BadInput
from worker.media.subtitles.charset import MAX_BYTES, declared_charset, transcode_to_utf8, with_declaration

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.task import TaskContext


async def utf8_file(
    path: Path, name: str, charset: str | None, context: TaskContext, *, xml: bool = False, number: int = 0
) -> Path:
    """Return the text at `path` as a file in UTF-8: itself, or a copy with a byte order mark in scratch.

    In `xml` the document's own declaration says the charset where the job does not. BadInput for text that is not UTF-8
    while nothing says what it is, for what does not fit, and for more than `MAX_BYTES`.
    """
    target = context.scratch(f"text-{number}{path.suffix}")
    return await asyncio.to_thread(_utf8_file, path, target, name, charset, xml=xml)


def _utf8_file(path: Path, target: Path, name: str, charset: str | None, *, xml: bool) -> Path:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise BadInput(f"{name} is a text of more than {MAX_BYTES >> 20} MiB")
    text = transcode_to_utf8(data, name, charset or (declared_charset(data) if xml else None))
    if text is None:
        return path
    target.write_bytes(codecs.BOM_UTF8 + (with_declaration(text) if xml else text))
    return target
