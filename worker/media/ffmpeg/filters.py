"""The filters that a job may name, and the parsing of a chain that proves that it names no others.

The allowed ones read and write no file, open no socket and load no plug-in, in ffmpeg 5.1 and 8.1; a test asks
both for each filter's options.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from worker.core.hints import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator


def words(text: str) -> frozenset[str]:
    """Return the words of `text`."""
    return frozenset(text.split())


VIDEO_FILTERS: Final = words(
    """
    atadenoise avgblur bilateral blend bm3d boxblur bwdif chromahold chromakey chromanr chromashift colorbalance
    colorchannelmixer colorcontrast colorcorrect colorhold colorize colorkey colorlevels colormatrix colorspace
    colortemperature convolution copy crop dblur deband deblock decimate deflate deflicker dejudder delogo
    detelecine drawbox drawgrid edgedetect eq erosion estdif exposure fade fftdnoiz field fieldorder fillborders
    format fps framerate framestep gblur gradfun hflip hqdn3d hqx hue huesaturation hwdownload hwmap hwupload
    hwupload_cuda idet il inflate interlace kerndeint lenscorrection limiter loop lumakey lutrgb lutyuv median
    minterpolate monochrome mpdecimate negate nlmeans noise normalize null owdenoise pad perspective phase pixelize
    pp7 premultiply pullup qp removegrain repeatfields reverse rgbashift rotate scale scale_cuda scale_qsv
    scale_vaapi select separatefields setdar setfield setparams setpts setrange setsar settb
    shear smartblur spp stereo3d swaprect swapuv telecine thumbnail tile tinterlace tmix tonemap tonemap_vaapi tpad
    transpose transpose_vaapi trim unpremultiply unsharp untile vaguedenoiser vflip vibrance vignette vpp_qsv w3fdif
    weave xbr yadif yadif_cuda yaepblur zoompan zscale deinterlace_qsv deinterlace_vaapi
    """
)
AUDIO_FILTERS: Final = words(
    """
    acompressor acontrast acopy acrusher adeclick adeclip adelay adenorm adynamicequalizer adynamicsmooth aecho
    aemphasis aexciter afade afftdn aformat afreqshift agate alimiter allpass aloop anequalizer anlmdn anull apad
    aphaser aphaseshift apsyclip apulsator aresample areverse asetnsamples asetpts asetrate asettb asoftclip asubboost
    asubcut asupercut asuperpass asuperstop atempo atilt atrim bandpass bandreject bass biquad channelmap compand
    compensationdelay crossfeed crystalizer dcshift deesser dialoguenhance dynaudnorm earwax equalizer extrastereo
    flanger haas hdcd headphone highpass highshelf loudnorm lowpass lowshelf mcompand pan rubberband silenceremove
    speechnorm stereotools stereowiden superequalizer surround tiltshelf treble tremolo vibrato virtualbass volume
    """
)
# After these the duration does not follow from the source's.
RETIMING: Final = words(
    """
    framestep loop mpdecimate select setpts thumbnail tile tpad trim untile zoompan adelay aloop apad asetpts asetrate
    atempo atrim rubberband silenceremove aecho
    """
)
# After these the number of frames does not, though they last as long.
REFRAMING: Final = RETIMING | words(
    """
    bwdif decimate deinterlace_qsv deinterlace_vaapi detelecine estdif fps framerate interlace minterpolate pullup
    repeatfields separatefields telecine tinterlace vpp_qsv w3fdif weave yadif yadif_cuda
    """
)

_NAME: Final = re.compile(r"^[a-z0-9_]+$")
_KEY: Final = re.compile(r"(?:^|:)\s*([A-Za-z0-9_]+)\s*=")
# ffmpeg 7 and later reads the value of `/key=name` from that file, and prints it in its errors.
_READS_A_FILE: Final = re.compile(r"(?:^|:)\s*/[^:]*=")
_QUOTING: Final = re.compile(r"['\\\\]")
_FILE_KEY: Final = re.compile(r"(?i)file|path|model|plugin|url|device")
MAX_FILTERS: Final = 50
_BURN: Final = ": it opens a file by its name; to draw a subtitle, give the output map `burn`"
INSTEAD: Final = {
    "subtitles": _BURN,
    "ass": _BURN,
    "concat": ": it takes several inputs; to put sources one after another, give the task `join`",
    "movie": ": it opens a file by its name; name the file in `sources`",
    "amovie": ": it opens a file by its name; name the file in `sources`",
    "drawtext": ": it reads files; draw text as a subtitle, by the output map's `burn`",
    "ebur128": ": it only measures; for a level, give the output map `loudness`",
}
"""Alternatives to filters that are refused and that people ask for."""


def filter_names(chain: str) -> tuple[str, ...]:
    """Return the names of the filters in a linear chain; ValueError for links, labels and malformed ones."""
    return tuple(name for name, _ in _filters(chain))


def filter_problem(chain: str, allowed: frozenset[str]) -> str | None:
    """Return why a job may not use `chain`, or None."""
    try:
        filters = list(_filters(chain))
    except ValueError as error:
        return str(error)
    if len(filters) > MAX_FILTERS:
        return f"has {len(filters)} filters; at most {MAX_FILTERS} are accepted"
    for name, arguments in filters:
        if name not in allowed:
            return f"the filter {name[:50]!r} is not allowed{INSTEAD.get(name) or nearest(name, allowed)}"
        # ffmpeg takes a level of quotes and backslashes away before it looks for keys: 'stats_fil'e=… is one.
        plain = _QUOTING.sub("", arguments)
        if bad := next((key for key in _KEY.findall(plain) if _FILE_KEY.search(key)), None):
            return f"the filter {name!r} may not have {bad!r}, which names a file"
        if _READS_A_FILE.search(plain):
            return f"the filter {name!r} may not have an option with '/' before its name, which is read from a file"
        if name == "loudnorm" and plain and any("=" not in part for part in plain.split(":")):
            return "the filter 'loudnorm' takes key=value only, for one of its positions is a file"
    return None


def _filters(chain: str) -> Iterator[tuple[str, str]]:
    for part in _split(chain):
        head, _, arguments = part.partition("=")
        name = head.strip().partition("@")[0]
        if not _NAME.match(name):
            raise ValueError(f"{name[:50]!r} is no name of a filter")
        yield name, arguments


def _split(chain: str) -> Iterator[str]:
    r"""Yield the parts between commas as libavutil's av_get_token sees them: `\x` is x, `'…'` is literal."""
    part, index = "", 0
    while index < len(chain):
        match character := chain[index]:
            case "\\":
                if index + 1 == len(chain):
                    raise ValueError("ends with a backslash")
                part, index = part + chain[index : index + 2], index + 1
            case "'":
                end = chain.find("'", index + 1)
                if end < 0:
                    raise ValueError("has a quote without its other half")
                part, index = part + chain[index : end + 1], end
            case ",":
                yield part
                part = ""
            case "[" | "]" | ";":
                raise ValueError(f"holds {character!r}: only a plain chain of filters is accepted")
            case _:
                part += character
        index += 1
    yield part
