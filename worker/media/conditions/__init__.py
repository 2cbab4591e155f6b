"""Conditions on what a source is: `video.height >= 720 and 'en' in audio.languages`.

A small typed language: names of facts, numbers with units, texts, `and`, `or`, `not`, comparisons and `in`. It computes
nothing, so there is nothing in it to run for long. A comparison with a fact that the source does not have is false.
"""

from worker.media.conditions.facts import FACTS, MEASURED, Fact, Kind, Value, fact_text, facts_of
from worker.media.conditions.language import Condition, compile_condition

__all__ = ["FACTS", "MEASURED", "Condition", "Fact", "Kind", "Value", "compile_condition", "fact_text", "facts_of"]
