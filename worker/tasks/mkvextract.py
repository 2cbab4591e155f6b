"""The module `mkvextract`: tracks, attachments, chapters, tags, timestamps and cues, each into a file of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, ClassVar

from worker.core.errors import BadInput, VerificationFailed
from worker.core.task import Files, FileUse, Lookup, Task, TaskContext
from worker.media.matroska.extract import ExtractedPart, extract_arguments, extracted_parts, firsts, vobsub_pair
from worker.media.matroska.merge import option_file_command
from worker.media.matroska.params import ExtractParams
from worker.media.matroska.size import HEAD_BYTES, declared_bytes
from worker.tasks.mkvmerge import identify, run_reporting

if TYPE_CHECKING:
    from pathlib import Path


class MkvextractTask(Task[ExtractParams]):
    """Runs mkvextract once."""

    module: ClassVar[str] = "mkvextract"
    params = ExtractParams

    def files(self, params: ExtractParams) -> Files:
        """Return the source and every file that is made."""
        named = _places(params)
        places = {place for _, place in named}
        # whether the track is a VobSub is known once the source is read
        pairs = [(path, pair) for path, place in named if path.startswith("tracks") and (pair := vobsub_pair(place))]
        named += [(path, pair) for path, pair in pairs if pair not in places]
        writes = [FileUse(path, place, params.overwrite) for path, place in named]
        return Files((FileUse("source", params.source),), tuple(writes))

    def requires(self, params: ExtractParams) -> frozenset[str]:
        """Return mkvextract, and mkvmerge, which identifies."""
        del params
        return frozenset({"tool:mkvextract", "tool:mkvmerge"})

    async def prepare(self, params: ExtractParams, lookup: Lookup) -> ExtractParams:
        """Return `params`; ToolMissing without a tool."""
        for name in ("mkvextract", "mkvmerge"):
            lookup.tool(name)
        return params

    async def run(self, params: ExtractParams, context: TaskContext) -> None:
        """Find what is wanted, extract it, and look whether it came."""
        source = await context.input(params.source)
        found = await identify(source, params.source, context)
        if found.container != "Matroska":
            raise BadInput(f"{params.source} is {found.container}; mkvextract reads Matroska")
        await asyncio.to_thread(_whole, source, params.source)
        items = extracted_parts(params, found)
        paths = _paths(items, context)
        option_file = context.scratch(f"extract-{len(paths)}-{source.name}.options.json")
        arguments = extract_arguments(source, items, paths)
        await asyncio.to_thread(option_file.write_text, json.dumps(arguments), encoding="utf-8")
        await run_reporting(
            option_file_command(context.tool("mkvextract"), option_file, arguments), params.source, context
        )
        await asyncio.to_thread(_copy_repeated, items, paths)
        missing = await asyncio.to_thread(_missing_names, paths)
        if missing:
            raise VerificationFailed(f"mkvextract made nothing of {', '.join(missing)}")
        context.report(1.0)


def _whole(source: Path, name: str) -> None:
    """Return if the file is as long as it says; BadInput otherwise, for mkvextract takes its end without a word."""
    with source.open("rb") as opened:
        said = declared_bytes(opened.read(HEAD_BYTES))
        there = opened.seek(0, os.SEEK_END)
    if said is not None and there < said:
        raise BadInput(f"{name} is cut short: it has {there} of {said} bytes")


def _places(params: ExtractParams) -> list[tuple[str, str]]:
    places: list[tuple[str, str]] = []
    for name in ("tracks", "attachments", "timestamps", "cues"):
        places += [(f"{name}[{index}].filename", item.filename) for index, item in enumerate(getattr(params, name))]
    return places + [(name, place) for name in ("chapters", "tags") if (place := getattr(params, name))]


def _paths(items: tuple[ExtractedPart, ...], context: TaskContext) -> dict[str, Path]:
    """Return where every wanted file, and every other file of a pair, is written; all of them are to be published."""
    paths: dict[str, Path] = {}
    for number, item in enumerate(items):
        if item.pair is None:
            paths[item.place] = context.output(item.place)
            continue
        # mkvextract names both files after the one that it is given
        stem = context.scratch(f"vobsub-{number}/subtitles")
        for place in (item.place, item.pair):
            paths[place] = stem.with_suffix(PurePosixPath(place).suffix.lower())
            context.adopt(paths[place], place)
    return paths


def _copy_repeated(items: tuple[ExtractedPart, ...], paths: dict[str, Path]) -> None:
    """Copy what is wanted more than once from its first file to the others."""
    made = firsts(items)
    for item in items:
        first = made[item.mode, item.number]
        for place, target in ((item.place, first.place), (item.pair, first.pair)):
            if place is None or target is None:
                continue
            known = {PurePosixPath(name).suffix.lower(): name for name in (first.place, first.pair) if name}
            origin = paths[known.get(PurePosixPath(place).suffix.lower(), target)]
            if paths[place] != origin:
                shutil.copyfile(origin, paths[place])


def _missing_names(paths: dict[str, Path]) -> list[str]:
    def is_there(path: Path) -> bool:
        return path.exists() and path.stat().st_size > 0

    return [place for place, path in paths.items() if not is_there(path)]
