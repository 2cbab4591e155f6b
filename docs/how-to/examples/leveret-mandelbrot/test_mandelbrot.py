"""The visualizer keeps Leveret's rules."""

from leveret_mandelbrot import MandelbrotVisualizer

from worker.testing import check_visualizer


def test_the_visualizer_keeps_the_rules() -> None:
    """Look at its options, its tools and its refusals."""
    check_visualizer(MandelbrotVisualizer(), {"seconds": 5})
