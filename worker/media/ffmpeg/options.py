"""The options that a job may give to ffmpeg, and the text that each value becomes.

Allowed are the generic options below and those that ffmpeg documents for the chosen encoder
(`ffmpeg -h encoder=…`); nothing may name a file, a protocol or a filter that reads one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from worker.core.errors import Problem
from worker.core.hints import nearest
from worker.media.ffmpeg.filters import AUDIO_FILTERS, VIDEO_FILTERS, filter_problem, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Scalar: TypeAlias = str | int | float | bool | None
Options: TypeAlias = "Mapping[str, Scalar | Mapping[str, Scalar]]"

MAX_VALUE: Final = 2000

FLAGS: Final = frozenset({"copyinkf", "autoscale", "force_fps", "accurate_seek", "seek_timestamp", "autorotate",
                          "fix_sub_duration", "find_stream_info"})  # fmt: skip
"""Options of the ffmpeg program that take no value; `false` writes `-no…`."""
# ffmpeg (5.1 to 8) passes over the specifier of these and would apply them to every stream of the kind.
_SPELLED_OUT: Final = {"vf": "filter", "af": "filter", "aq": "q"}

_COMMON: Final = words(
    """
    codec c b maxrate minrate bufsize q qscale profile level strict flags flags2 threads tag disposition bsf frames
    global_quality compression_level time_base enc_time_base copyinkf metadata bits_per_raw_sample
    """
)
KIND_OPTIONS: Final = {
    "v": _COMMON
    | words(
        """
        bt g bf r fpsmax s aspect sar pix_fmt vf filter keyint_min refs sc_threshold qmin qmax qdiff qcomp qblur
        i_qfactor b_qfactor i_qoffset b_qoffset me_range subq trellis cmp subcmp mbcmp mbd dia_size last_pred b_strategy
        rc_init_occupancy rc_max_vbv_use rc_min_vbv_use coder color_range colorspace color_primaries color_trc
        chroma_sample_location field_order force_key_frames fps_mode autoscale force_fps slices timecode dc mblmin
        mblmax skip_threshold nssew thread_type
        """
    ),
    "a": _COMMON | words("ar ac af filter sample_fmt channel_layout ch_layout cutoff aq frame_size"),
    "s": _COMMON | words("s canvas_size"),
    "d": words("codec c tag metadata disposition bsf copyinkf"),
    "t": words("codec c metadata disposition"),
}
INPUT_OPTIONS: Final = words(
    """
    ss to t sseof stream_loop itsoffset itsscale r framerate accurate_seek seek_timestamp autorotate fix_sub_duration
    analyzeduration probesize fflags err_detect hwaccel hwaccel_output_format threads thread_queue_size
    find_stream_info ignore_editlist
    """
)
_PRESETS: Final = words(
    "ultrafast superfast veryfast faster fast medium slow slower veryslow placebo 0 1 2 3 4 5 6 7 8 9"
)
"""The presets of x264 and x265; ffmpeg refuses another one only when it runs, and in their words."""
_WITH_PRESETS: Final = frozenset({"libx264", "libx264rgb", "libx265"})
_TIMES: Final = frozenset({"ss", "to", "t", "sseof", "itsoffset"})
# Each writes or reads a file, or another program's state, by its value.
REFUSED_OPTIONS: Final = words(
    """
    pass passlogfile stats vstats vstats_file attach dump_attachment filter_script filter_complex filter_complex_script
    fpre pre vpre apre spre i f map map_metadata report progress sdp_file init_hw_device hwaccel_device qsv_device
    vaapi_device protocol_whitelist format_whitelist codec_whitelist
    """
)

_OPTION: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
_HELP: Final = re.compile(r"^  -(\S+)\s+<(\w+)>\s+E\S*\s?(.*)$")
# `omx_libname` is a library that ffmpeg loads: it would run a file that a publisher put into a root
_NAMES_A_FILE: Final = re.compile(r"(?i)\bfile ?name|\bfile\b|\bpath\b|\blibrary\b|\bdevice\b")
_TAG: Final = re.compile(r"[^=]*[^=\s][^=]*=")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
_TIME: Final = re.compile(r"^-?(?:(\d+):)?(?:(\d{1,2}):)?(\d+(?:\.\d+)?)(s|ms|us)?$")
_BITSTREAM_FILTERS: Final = re.compile(r"^[a-z0-9_]+(=[A-Za-z0-9_=:/.-]+)?(,[a-z0-9_]+(=[A-Za-z0-9_=:/.-]+)?)*$")
# Keys of x264-, x265-, SVT-AV1- and libaom's parameters that name a file; `_` and `no-` are alike to the libraries.
_FILE_KEY: Final = re.compile(
    r"file|stat|csv|recon|dump|load|save|table|path|cfg|-info$|^(c|cqm|config|input|output|i|o|errlog|log|pass|"
    r"opencl-clbin|scaling-list|dolby-vision-rpu|lambda|roi.*|qp-f.*|second-pass-log|two-pass.*|fgs.*|"
    r"(aom-)?film-grain)$"
)
_HARMLESS: Final = re.compile(r"^(cqm=(flat|jvt)|scaling-list=(off|default)|film-grain=\d+)$")


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder as ffmpeg documents it: its name, its kind (v, a, s), the codec it writes, its own options."""

    name: str
    kind: str
    codec: str
    options: frozenset[str] = frozenset()


def parse_encoders(text: str) -> dict[str, Encoder]:
    """Return what `ffmpeg -encoders` lists, by name."""
    found = {}
    for line in text.splitlines():
        if match := re.match(r"^ ([VAS])[A-Z.]{5} ([\w-]+)\s+(.*?)(?:\(codec ([\w-]+)\))?$", line):
            kind, name, _, codec = match.groups()
            found[name] = Encoder(name, kind.lower(), codec or name)
    return found


def parse_encoder_options(text: str) -> tuple[str | None, frozenset[str]]:
    """Return from `ffmpeg -h encoder=…` the first encoder's name and its options, without those that name a file."""
    blocks = re.split(r"(?m)^Encoder (\S+) \[.*$", text)
    if len(blocks) < 3:  # noqa: PLR2004 - text before, name, text after
        return None, frozenset()
    lines = filter(None, map(_HELP.match, blocks[2].splitlines()))
    return blocks[1], frozenset(m[1] for m in lines if m[1] not in REFUSED_OPTIONS and not _NAMES_A_FILE.search(m[3]))


def seconds_of(value: object) -> float | None:
    """Return a time as ffmpeg writes it (`90`, `1:30`, `1500ms`) in seconds; None when it is none."""
    match = _TIME.match(str(value))
    if match is None:
        return None
    first, second, last, unit = match.groups()
    hours, minutes = (int(first), int(second)) if first and second else (0, int(first or 0))
    size = (hours * 3600 + minutes * 60 + float(last)) * {"ms": 1e-3, "us": 1e-6}.get(unit or "s", 1.0)
    return -size if str(value).startswith("-") else size


_UNMADE_AAC: Final = frozenset({"aac_he", "aac_he_v2", "aac_ld", "aac_eld", "mpeg2_aac_he"})
"""Profiles that ffmpeg's own encoder takes and writes as a file that nothing reads (5.1), or refuses (7.1)."""


def output_problems(options: Options, kind: str | None, encoder: Encoder | None, path: str) -> Iterator[Problem]:
    """Yield what is wrong with the options of one output stream; `kind` None means that any kind may be meant."""
    generic = KIND_OPTIONS[kind.lower()] if kind else frozenset().union(*KIND_OPTIONS.values())
    own = encoder.options if encoder else frozenset()
    subject = f"the encoder {encoder.name!r}" if encoder else "ffmpeg's generic options" if kind else "ffmpeg"
    yield from _problems(options, generic | own, path, subject)
    preset = options.get("preset")
    if encoder and encoder.name in _WITH_PRESETS and preset is not None and not _value_problem("preset", preset):
        text = value_text(preset)
        if text.lower() not in _PRESETS:
            yield Problem(f"{path}.preset", f"{text[:50]!r} is no preset of {encoder.name!r}{nearest(text, _PRESETS)}")
    if encoder and encoder.name == "aac" and options.get("profile") in _UNMADE_AAC:
        yield Problem(f"{path}.profile", "is no profile that 'aac' makes, though it lists it; libfdk_aac does")


def input_problems(options: Options, path: str) -> Iterator[Problem]:
    """Yield what is wrong with the options before the inputs."""
    yield from _problems(options, INPUT_OPTIONS, path, "inputs")
    for name in _TIMES & options.keys():
        if seconds_of(options[name]) is None:
            yield Problem(f"{path}.{name}", "is no time: seconds, or [hours:]minutes:seconds")
    start, end, length, back = (seconds_of(options.get(name)) for name in ("ss", "to", "t", "sseof"))
    if back is not None and back >= 0:
        yield Problem(f"{path}.sseof", "counts back from the end, so it is negative: -10 is the last ten seconds")
    if length is not None and length <= 0:
        yield Problem(f"{path}.t", "leaves nothing: it is a length, and more than 0")
    elif length is None and end is not None and end <= (start or 0.0):
        yield Problem(f"{path}.to", "leaves nothing: it is the time of the end, and that comes after ss")
    loop = options.get("stream_loop")
    if str(loop).strip().startswith("-") and not {"t", "to"} & options.keys():
        yield Problem(f"{path}.stream_loop", "would never end: give t or to as well")


def _problems(options: Options, allowed: frozenset[str], path: str, subject: str) -> Iterator[Problem]:
    for name, value in options.items():
        where = f"{path}.{name[:100]}"
        if name == "movflags":
            yield Problem(where, "is no stream's option: MP4 and MOV files are written for a fast start without it")
        elif name in REFUSED_OPTIONS:
            yield Problem(where, "names a file or a device, or reaches beyond this output: no job may give it")
        elif not _OPTION.match(name) or name not in allowed:
            yield Problem(where, f"is no option of {subject} that is allowed{nearest(name, allowed)}")
        elif problem := _value_problem(name, value):
            yield Problem(where, problem)


def _value_problem(name: str, value: Scalar | Mapping[str, Scalar]) -> str | None:
    if name in FLAGS:
        return None if value is None or isinstance(value, bool) else "is a flag: true or false"
    if value is None:
        return "needs a value"
    if name == "metadata" and not all(map(_TAG.match, _tags(value))):
        return 'is a map of tags, {"title": "…"}, or one as text: title=…'
    text = value_text(value)
    if len(text) > MAX_VALUE or _CONTROL.search(text):
        return f"holds control characters or more than {MAX_VALUE} characters"
    if name in {"vf", "af", "filter"}:
        if not isinstance(value, str):
            return "is a chain of filters, written as ffmpeg does"
        return filter_problem(text, {"vf": VIDEO_FILTERS, "af": AUDIO_FILTERS}.get(name, VIDEO_FILTERS | AUDIO_FILTERS))
    if name == "bsf" and not _BITSTREAM_FILTERS.match(text):
        return "is a list of bitstream filters: name=key=value,name"
    if name.endswith(("-params", "opts")):
        return parameters_problem(value)
    if name != "metadata" and re.search(r"\w+://|^(file|concat|subfile|pipe|data|fd|async|cache|crypto):", text):
        return "names a file or a protocol, which no option may"
    return None


def parameters_problem(value: Scalar | Mapping[str, Scalar]) -> str | None:
    r"""Return why a list of a library's own parameters is refused. `\` and quotes could hide a separator."""
    if isinstance(value, dict):
        pairs = [(str(key), value_text(item)) for key, item in value.items()]
        if bad := next((key for key, item in pairs if ":" in key + item or "=" in key + item), None):
            return f"{bad[:50]!r} holds ':' or '=', which separate parameters"
    else:
        pairs = [(key, item) for key, _, item in (part.partition("=") for part in str(value).split(":"))]
    for key, item in pairs:
        if re.search(r"[\\'\"/]", key + item):
            return f"{key[:50]!r} holds a quote, a slash or a backslash"
        plain = re.sub(r"^no-?", "", key.strip().lower().replace("_", "-"))
        if _FILE_KEY.search(plain) and not _HARMLESS.match(f"{plain}={item}"):
            return f"{key[:50]!r} names a file, which no parameter may"
    return None


def value_text(value: Any) -> str:
    """Return a value as it is in the argv: a map is joined with `=` and `:`, true and false are 1 and 0."""
    match value:
        case bool():
            return str(int(value))
        case dict():
            return ":".join(f"{key}={value_text(item)}" for key, item in value.items())
        case None:
            return "1"
        case _:
            return str(value)


def _tags(value: Scalar | Mapping[str, Scalar]) -> tuple[str, ...]:
    """Return `metadata` as ffmpeg's `name=value`; null takes a tag away, as nothing behind the `=` does."""
    if not isinstance(value, dict):
        return (str(value),)
    texts: dict[Scalar, str] = {None: "", True: "true", False: "false"}
    said = {key: texts[item] if item is None or isinstance(item, bool) else str(item) for key, item in value.items()}
    # a name with `=` would be that of another tag
    return tuple("" if "=" in key else f"{key}={text}" for key, text in said.items())


def arguments(options: Options, specifier: str = "") -> Iterator[str]:
    """Yield the argv of `options`, each for the stream `specifier` (`:v:0`), in their order."""
    for given, value in options.items():
        name = _SPELLED_OUT.get(given, given) if specifier else given
        if name in FLAGS:
            yield f"-no{name}{specifier}" if value is False else f"-{name}{specifier}"
        elif name == "metadata":
            for tag in _tags(value):
                yield from (f"-metadata:s{specifier}", tag)
        else:
            yield from (f"-{name}{specifier}", value_text(value))
