"""Conditions on what a source is: `video.height >= 720 and 'en' in audio.languages`.

A small typed language: names of facts, numbers with units, texts, `and`, `or`, `not`, comparisons and `in`. It computes
nothing, so there is nothing in it to run for long. A comparison with a fact that the source does not have is false.
"""

from worker.media.conditions.facts import FACTS, MEASURED, Fact, Kind, Value, facts_of, shown
from worker.media.conditions.language import Condition, compiled

__all__ = ["FACTS", "MEASURED", "Condition", "Fact", "Kind", "Value", "compiled", "facts_of", "shown"]
