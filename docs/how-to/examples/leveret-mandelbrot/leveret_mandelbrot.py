"""A visualizer of Leveret: a journey into the Mandelbrot set, drawn by a filter of ffmpeg's."""

from typing import ClassVar

from pydantic import Field

from visualizers import Scene, SceneParams, Stage, Visualizer


class MandelbrotParams(SceneParams):
    """The options of a mandelbrot film."""

    seconds: int = Field(10, ge=1, le=600, description="How long the journey is.")
    x: float = Field(-0.743643, ge=-2, le=2, allow_inf_nan=False, description="Where it leads.")
    y: float = Field(-0.131825, ge=-2, le=2, allow_inf_nan=False, description="Where it leads.")


class MandelbrotVisualizer(Visualizer[MandelbrotParams]):
    """Draws 25 frames a second, each a little deeper."""

    module: ClassVar[str] = "mandelbrot"
    params = MandelbrotParams

    async def scene(self, params: MandelbrotParams, stage: Stage) -> Scene:
        """Return what ffmpeg reads and does to show it, and how many frames that makes."""
        stage.note("mandelbrot", {"x": params.x, "y": params.y})
        frames = params.seconds * 25
        source = f"mandelbrot=s=640x360:r=25:start_x={params.x:.9f}:start_y={params.y:.9f}:end_pts={frames}"
        return Scene(
            size=(640, 360),
            framerate=25,
            frames=frames,
            inputs=("-f", "lavfi", "-i", source),
            graph="[0:v:0]hue=h=n[picture]",
        )
