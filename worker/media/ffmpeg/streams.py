"""The streams of an output: which streams of the sources they are, and how each is made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from worker.core.errors import InvalidJob, Problem
from worker.media.ffmpeg.joining import joined_streams, joining_graph, without_filters
from worker.media.ffmpeg.mapping import mapped_streams, source_summary
from worker.media.ffmpeg.mixing import mixing_options
from worker.media.ffmpeg.params import KIND_NAMES, Kind, OutputMap, SourceMap
from worker.media.ffmpeg.tagging import with_colours

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from worker.core.media_info import MediaInfo, StreamInfo
    from worker.media.ffmpeg.options import Encoder
    from worker.media.ffmpeg.params import FfmpegParams

_LETTERS: Final[dict[str, Kind]] = {"video": "v", "audio": "a", "subtitle": "s", "data": "d", "attachment": "t"}
# Without source maps: c is a cover. Containers that are not named take a picture and a sound.
_TAKEN: Final = (
    dict.fromkeys((".mkv", ".webm"), "vas")
    | dict.fromkeys((".srt", ".ass", ".vtt", ".sup", ".mks"), "s")
    | dict.fromkeys((".mp3", ".flac", ".aiff", ".m4a"), "ac")
    | dict.fromkeys((".mka", ".oga", ".opus", ".wav", ".w64", ".aac", ".ac3", ".eac3", ".dts", ".wma"), "a")
    | dict.fromkeys((".y4m", ".h264", ".hevc", ".ivf", ".gif", ".jpg", ".jpeg", ".png", ".webp"), "v")
)
_BITMAPS: Final = frozenset({"hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle", "xsub", "dvb_teletext"})
_TELETEXT: Final = "dvb_teletext"
_TELETEXT_MUXERS: Final = frozenset({"mpegts", "nut"})
_DEFAULT_BONUS: Final = 5_000_000
"""The score of a stream marked as default, above any count of pixels or channels: ffmpeg takes it first, too."""
_ENCODED: Final = frozenset({"video", "audio", "subtitle"})
"""The kinds of streams that ffmpeg encodes by default; data and attachments it only copies."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A stream of the output: its source's index, and what it is there; `unnamed` if no output map names it."""

    source: int
    stream: StreamInfo
    unnamed: bool = False


@dataclass(frozen=True, slots=True)
class Arrangement:
    """`params` with one source map and at most one output map for each stream, each by number; the streams in order.

    `graph` is the complex filter that joins the sources, None where they are not joined. `warnings` are what people
    should know of it.
    """

    params: FfmpegParams
    streams: tuple[Taken, ...]
    warnings: tuple[str, ...] = ()
    graph: str | None = None


def arrange(params: FfmpegParams, infos: Sequence[MediaInfo], encoders: Mapping[str, Encoder]) -> Arrangement:
    """Return which streams the output gets and how each is made.

    InvalidJob for a map that means no stream, and for streams that no output map names where the job does not say
    what becomes of them.
    """
    problems: list[Problem] = []
    taken, numbered = _taken_streams(params, infos, problems)
    made: list[dict[str, Any]] = [{} for _ in taken]
    excused = not params.source_maps or any(item.optional for item in params.source_maps)
    for index, item in enumerate(params.output_maps):
        places = _places(item, [one.stream for one in taken], encoders)
        if not places and not excused:
            problems.append(Problem(f"output_maps[{index}]", _absence(item, [one.stream for one in taken])))
        for place in places:
            made[place] = _merged_map(made[place], item)
    warnings: list[str] = []
    unnamed = [n for n in range(len(taken)) if params.output_maps and not made[n]]
    problems += _unnamed_problems(params, taken, unnamed, numbered, warnings)
    for place in unnamed:
        taken[place] = replace(taken[place], unnamed=True)
        if params.unnamed == "copy" or taken[place].stream.attached_picture:
            made[place] = {"options": {"codec": "copy"}}
    problems += _teletext_problems(params, taken, made)
    if problems:
        raise InvalidJob(problems)
    kept = [n for n, one in enumerate(taken) if not (one.unnamed and params.unnamed == "drop")]
    streams = tuple(taken[n] for n in kept)
    source_maps = [SourceMap(source=one.source, stream=one.stream.index) for one in streams]
    output_maps = [_with_colours(item) for item in _numbered_maps(streams, [made[n] for n in kept])]
    changes = {"source_maps": source_maps, "output_maps": output_maps}
    return Arrangement(params.model_copy(update=changes), streams, tuple(warnings))


def _teletext_problems(
    params: FfmpegParams, taken: Sequence[Taken], made: Sequence[Mapping[str, Any]]
) -> Iterable[Problem]:
    """Yield a problem for each teletext that is not copied from a transport stream into another.

    Made a bitmap, its last cue comes after 49 days (ffmpeg 5.1); other failures say nothing of teletext.
    """
    for one, how in zip(taken, made, strict=True):
        if one.stream.codec != _TELETEXT or (one.unnamed and params.unnamed == "drop"):
            continue
        copied = how.get("options", {}).get("codec") == "copy"
        if not (copied and params.muxer in _TELETEXT_MUXERS):
            name = PurePosixPath(params.sources[one.source]).name
            message = (
                f"stream {one.stream.index} of {name} is teletext, which ffmpeg copies into .ts alone;"
                " the module mkvmerge makes a text of it"
            )
            yield Problem("source_maps", message)


def _with_colours(item: OutputMap) -> OutputMap:
    if item.specifier != "v" or item.encoder == "copy":
        return item
    return item.model_copy(update={"options": with_colours(item.options)})


def joined_arrangement(arrangement: Arrangement, infos: Sequence[MediaInfo]) -> Arrangement:
    """Return the arrangement with the graph that joins the sources, where they are to be joined."""
    if not arrangement.params.join:
        return arrangement
    graph = joining_graph(arrangement.params, infos)
    return replace(arrangement, params=without_filters(arrangement.params), graph=graph)


def _taken_streams(
    params: FfmpegParams, infos: Sequence[MediaInfo], problems: list[Problem]
) -> tuple[list[Taken], frozenset[int]]:
    """Return the streams in output order, and which of them were asked for by their number."""
    if params.join:
        return [Taken(0, stream) for stream in joined_streams(infos)], frozenset()
    if not params.source_maps:
        return [Taken(source, stream) for source, stream in _best(params, infos)], frozenset()
    taken: list[Taken] = []
    numbered: set[int] = set()
    for index, item in enumerate(params.source_maps):
        found = mapped_streams(item, infos[item.source])
        if not found and not item.optional:
            name = PurePosixPath(params.sources[item.source]).name
            like = f" ({item.description()})" if item.selects else ""
            has = source_summary(infos[item.source])
            problems.append(Problem(f"source_maps[{index}]", f"{item}{like} is not there: {name} has {has}"))
        if item.stream is not None:
            numbered |= set(range(len(taken), len(taken) + len(found)))
        taken += [Taken(item.source, stream) for stream in found]
    return taken, frozenset(numbered)


def _best(params: FfmpegParams, infos: Sequence[MediaInfo]) -> Iterable[tuple[int, StreamInfo]]:
    """Yield the best stream of each kind that the container takes, by one rule, whichever version of ffmpeg runs.

    The best picture has the most pixels, the best sound the most channels, and one marked as default comes first.
    Bitmaps are only copied, so they are taken where an output map copies subtitles.
    """
    kinds = _TAKEN.get(PurePosixPath(params.output_file).suffix.lower(), "va")
    every = [(source, stream) for source, info in enumerate(infos) for stream in info.streams]
    copies = any(item.encoder == "copy" and item.specifier in {"s", None} for item in params.output_maps)
    for kind in kinds:
        name = KIND_NAMES["v" if kind == "c" else kind]
        fitting = [(source, stream) for source, stream in every if stream.kind == name]
        if kind == "c":
            fitting = [item for item in fitting if item[1].attached_picture]
        elif kind == "v":
            fitting = [item for item in fitting if not item[1].attached_picture] or fitting
            fitting = [item for item in fitting if not item[1].is_still] or fitting
        elif kind == "s" and not copies:
            fitting = [item for item in fitting if item[1].codec not in _BITMAPS]
        if fitting:
            yield max(fitting, key=lambda item: _score(item[1]))


def _score(stream: StreamInfo) -> int:
    size = (stream.width or 0) * (stream.height or 0) if stream.kind == "video" else stream.channels or 0
    return size + _DEFAULT_BONUS * ("default" in stream.dispositions)


def _places(item: OutputMap, streams: Sequence[StreamInfo], encoders: Mapping[str, Encoder]) -> list[int]:
    """Return the positions in the output of the streams that an output map means."""
    letter: str | None = item.specifier
    if letter is None and item.stream is None:
        # an encoder makes one kind only, and only sounds have a loudness
        encoder = encoders.get(item.encoder or "")
        letter = encoder.kind if encoder else "a" if item.loudness else None
    kind = KIND_NAMES[letter.lower()] if letter else None
    found = [index for index, stream in enumerate(streams) if kind in {None, stream.kind} and item.picks(stream)]
    if letter == "V":
        found = [index for index in found if not streams[index].attached_picture]
    if item.stream is not None:
        return found[item.stream : item.stream + 1]
    if item.encoder != "copy" and item.disposition != "attached_pic":
        # options for all pictures are meant for the film, not for its cover
        return [index for index in found if not streams[index].attached_picture] or found
    return found


def _absence(item: OutputMap, streams: Sequence[StreamInfo]) -> str:
    given = ", ".join(f"{stream.kind} {stream.codec}" for stream in streams) or "no stream"
    place = item.stream_specifier.lstrip(":") or "a stream"
    like = f" ({item.description()})" if item.selects else ""
    return f"{place}{like} is not there: the source maps give {given}"


def _merged_map(before: dict[str, Any], item: OutputMap) -> dict[str, Any]:
    """Return what several maps say of one stream: of an option that two give, the later one counts."""
    options = before.get("options", {}) | {("codec" if key == "c" else key): v for key, v in item.options.items()}
    return {
        "options": options,
        "loudness": item.loudness or before.get("loudness"),
        "burn": item.burn or before.get("burn"),
    }


def _unnamed_problems(
    params: FfmpegParams,
    taken: Sequence[Taken],
    unnamed: Sequence[int],
    numbered: frozenset[int],
    warnings: list[str],
) -> list[Problem]:
    """Return the problem of streams that no output map names; one that is mapped by its number is only a warning."""
    encoded = [n for n in unnamed if taken[n].stream.kind in _ENCODED and not taken[n].stream.attached_picture]
    if params.unnamed is not None or not encoded:
        return []
    if refused := [n for n in encoded if n not in numbered]:
        names = ", ".join(_position(taken, n) for n in refused)
        text = f'name no {names}: say how it is made, or what becomes of it by "unnamed": "copy", "encode" or "drop"'
        return [Problem("output_maps", text)]
    names = ", ".join(_position(taken, n) for n in encoded)
    warnings.append(f"no output map names {names}: encoded as the container has it by default; see `unnamed`")
    return []


def _position(taken: Sequence[Taken], place: int) -> str:
    stream = taken[place].stream
    number = sum(one.stream.kind == stream.kind for one in taken[:place])
    language = f" {stream.language}" if stream.language else ""
    return f"{_LETTERS[stream.kind]}:{number} ({stream.codec}{language})"


def _numbered_maps(streams: Sequence[Taken], made: Sequence[dict[str, Any]]) -> Iterable[OutputMap]:
    counts: dict[str, int] = {}
    for one, how in zip(streams, made, strict=True):
        letter = _LETTERS.get(one.stream.kind)
        number = counts.get(one.stream.kind, 0)
        counts[one.stream.kind] = number + 1
        if how and letter:
            options = how.get("options", {})
            yield OutputMap.model_construct(
                specifier=letter,
                stream=number,
                options=mixing_options(options, one.stream) if letter == "a" else options,
                option_set=None,
                loudness=how.get("loudness"),
                burn=how.get("burn"),
                language=None,
                disposition=None,
                codec=None,
            )


def became(arrangement: Arrangement, made: MediaInfo) -> list[dict[str, object]]:
    """Return what each stream of the output was and has become, for the record."""
    names = [PurePosixPath(source).name for source in arrangement.params.sources]
    how = {f"{item.specifier}:{item.stream}": item for item in arrangement.params.output_maps}
    counts: dict[str, int] = {}
    found: list[dict[str, object]] = []
    for one in arrangement.streams:
        stream, kind = one.stream, one.stream.kind
        number = counts.get(kind, 0)
        counts[kind] = number + 1
        item = how.get(f"{_LETTERS.get(kind)}:{number}")
        # Matroska keeps a cover as an attachment, and a muxer may add data streams
        now = [other for other in made.streams if other.kind == kind][number : number + 1]
        copied = (item is not None and item.encoder == "copy") or kind not in _ENCODED
        found.append(
            {
                "stream": f"{_LETTERS.get(kind, kind)}:{number}",
                "from": f"{names[one.source]} {stream.index}",
                "codec": now[0].codec if now else None,
                "was": stream.codec,
                "how": "copied" if copied else "encoded",
                **({"language": stream.language} if stream.language else {}),
            }
        )
    return found
