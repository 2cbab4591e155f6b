"""Scenes that become films: each module here turns typed options into commands, and knows its frames beforehand.

A visualizer is a module of jobs by its own name: subclass `Visualizer`, name the class by an entry point of the group
`leveret.visualizers`. It says what draws the frames and how many there will be; encoding, proving, packaging and
publishing them is the same for all. The names of this package are those that authors of visualizers import.
"""

from worker.media.scenes import (
    GROUP,
    LONGEST_SECONDS,
    WHOLE,
    FrameRange,
    Repository,
    Scene,
    SceneParams,
    Shared,
    Stage,
    Visualizer,
    frames_from_pipe,
)

__all__ = [
    "GROUP",
    "LONGEST_SECONDS",
    "WHOLE",
    "FrameRange",
    "Repository",
    "Scene",
    "SceneParams",
    "Shared",
    "Stage",
    "Visualizer",
    "frames_from_pipe",
]
