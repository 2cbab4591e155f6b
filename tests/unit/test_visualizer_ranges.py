"""Where the ranges of a scene begin: even ones by default, and by the seconds that a job asks for."""

from __future__ import annotations

import pytest

from worker.core.parts import Fleet
from worker.media.scenes import Scene, SceneParams
from worker.tasks.visualizer.ranges import cuts_of


@pytest.mark.parametrize(
    ("parts", "workers", "cuts"),
    [
        ("auto", 2, (0, 900, 1803)),
        ("auto", 3, (0, 600, 1200, 1803)),
        # none is shorter than ten seconds, so six workers of ten have one
        ("auto", 10, (0, 300, 600, 900, 1200, 1500, 1803)),
        ({"seconds": 20}, 2, (0, 600, 1200, 1803)),
    ],
)
def test_a_minute_is_cut_evenly_or_as_asked_at_groups_of_pictures(parts, workers, cuts):
    scene = Scene(size=(320, 180), framerate=30, frames=1803, inputs=(), graph="")
    assert cuts_of(scene, SceneParams(parts=parts), Fleet(workers)) == cuts
