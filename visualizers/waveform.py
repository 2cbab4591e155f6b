"""The visualizer `waveform`: a sound as a film, by ffmpeg's own filters."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from visualizers import LONGEST_SECONDS, Scene, SceneParams, Stage, Visualizer
from visualizers.gource_params import Colour, Resolution, size_of
from worker.core.errors import BadInput
from worker.core.job import Place  # noqa: TC001  # pydantic reads it at run time
from worker.core.task import Files, FileUse
from worker.media.empty import emptiness, first_frame_command, is_empty
from worker.media.ffmpeg.formats import GUARDS
from worker.media.hls.ladder import stream_end

Look = Literal["line", "bars", "spectrum", "tones", "frequencies", "scope"]

# each draws on nothing, at the frame rate and in the size of the film
_LOOKS: Final[dict[str, str]] = {
    "line": "showwaves=s={size}:r={rate}:mode=cline:scale=sqrt:colors=0x{colour}",
    "bars": "showfreqs=s={size}:rate={rate}:mode=bar:fscale=log:ascale=sqrt:win_size=2048:colors=0x{colour}",
    "spectrum": "showspectrum=s={size}:fps={rate}:slide=scroll:mode=combined:color=intensity:scale=cbrt",
    "tones": "showcqt=s={size}:fps={rate}:axis=0",
    "frequencies": "showfreqs=s={size}:rate={rate}:mode=line:fscale=log:ascale=log:win_size=4096:colors=0x{colour}",
    "scope": "avectorscope=s={size}:r={rate}:draw=line:scale=cbrt:rc=64:gc=220:bc=160",
}


class WaveformParams(SceneParams):
    """A sound as a film."""

    source: Place = Field(description="The sound, or a film whose first sound is meant.")
    look: Look = Field(
        "line",
        description="line and bars: the wave and its bands; spectrum: the last seconds; tones: by musical pitch;"
        " frequencies: a curve; scope: left against right.",
    )
    resolution: Resolution = Field("1280x720", description="Width and height; even, at most 3840x2160.")
    framerate: Literal[25, 30, 60] = Field(30, description="Frames a second.")
    colour: Colour = Field("3FA7FF", description="Six hexadecimal digits, of the looks that have one colour.")
    background_colour: Colour = Field("000000", description="Six hexadecimal digits.")
    max_seconds: Annotated[float, Field(gt=0, le=LONGEST_SECONDS)] = Field(
        LONGEST_SECONDS, description="Where a longer sound is cut."
    )


class WaveformVisualizer(Visualizer[WaveformParams]):
    """Draws sound."""

    module: ClassVar[str] = "waveform"
    params: ClassVar[type[WaveformParams]] = WaveformParams

    def files(self, params: WaveformParams) -> Files:
        """Return the sound."""
        return Files(reads=(FileUse("source", params.source),))

    async def scene(self, params: WaveformParams, stage: Stage) -> Scene:
        """Return the film: as many frames as the sound has time for, the last one begun counted."""
        source = await stage.input(params.source)
        info = await stage.probe(source)
        if not info.audio:
            raise BadInput(f"{params.source} has no sound")
        (tried,) = await stage.run(first_frame_command(stage.tool("ffmpeg"), source, info.audio[0].index, decoded=True))
        if is_empty(tried):
            raise BadInput(emptiness(info.audio[0], params.source))
        seconds = stream_end(info.audio[0], info) or info.duration
        if not seconds or seconds <= 0:
            raise BadInput(f"nothing in {params.source} tells how long it is")
        frames = max(1, math.ceil(round(min(seconds, params.max_seconds) * params.framerate, 3)))
        return Scene(
            size=size_of(params.resolution),
            framerate=params.framerate,
            frames=frames,
            inputs=(*GUARDS, "-i", f"file:{source}"),
            graph=graph(params, frames / params.framerate),
            sound=source,
        )


def graph(params: WaveformParams, seconds: float) -> str:
    """Return the filter graph of a look, over its background; silence follows the sound's end."""
    # a filter wants more sound than its last frame shows; without an end ffmpeg 5.1 would go on for ever
    length = seconds + 1
    values = {"size": params.resolution, "rate": params.framerate, "colour": params.colour}
    drawn = _LOOKS[params.look].format(**values)
    hear = f"[0:a:0]aresample=48000:async=1:first_pts=0,aformat=channel_layouts=stereo,apad=whole_dur={length:.6f}"
    behind = f"color=c=0x{params.background_colour}:s={params.resolution}:r={params.framerate}:d={length:.6f}"
    return (
        f"{hear},{drawn},format=gbrp,fps={params.framerate}:start_time=0[drawn];{behind},format=gbrp[behind];"
        "[behind][drawn]blend=all_mode=screen[picture]"
    )
