"""A compiled template, which is filled for one source after another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from worker.control.intake.variable_values import check_value, number_of, typed_values
from worker.core import placeholders
from worker.core.errors import InvalidJob, Problem
from worker.core.hints import nearest
from worker.core.placeholders import MissingValue, has_placeholders
from worker.media import conditions
from worker.media.conditions import FACTS, Condition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.core.template import TemplateDocument, Variable
    from worker.media.conditions import Value

CLOCK: Final = ("date", "time")
"""The names of a job's time of making that a template may use: `2026-11-27`, `14-05`."""
WHEN: Final = "when"


@dataclass(frozen=True, slots=True)
class Skip:
    """Why no job is made of a source."""

    reason: str


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A template that can be filled: every name in it is known, every condition compiled.

    `names` are the facts that it looks at, in conditions and in texts.
    """

    name: str
    version: int
    document: TemplateDocument
    names: frozenset[str]
    conditions: Mapping[str, Condition] = field(default_factory=dict)

    @property
    def needs_source(self) -> bool:
        """Return whether it says anything about its source."""
        return any(name in FACTS for name in self.names)

    @property
    def needs_probe(self) -> bool:
        """Return whether it asks what its source is, beyond its name."""
        return any(name in FACTS and not name.startswith("source.") for name in self.names)

    @property
    def needs_decode(self) -> bool:
        """Return whether it asks what only a decoder can measure."""
        return bool(self.names & conditions.MEASURED)

    def refusal(self, facts: Mapping[str, Value], variables: Mapping[str, str]) -> Skip | None:
        """Return why the template is not for this source, or why the source needs nothing; None for work to do."""
        if not self.is_meant(facts, variables):
            return Skip(f"the template is for other sources: {self.document.when}")
        if self.document.promise and not self.broken_promises(facts, variables):
            return Skip(f"it conforms already: {'; '.join(self.document.promise)}")
        return None

    def is_meant(self, facts: Mapping[str, Value], variables: Mapping[str, str]) -> bool:
        """Return whether the template is for such a source."""
        known = {**facts, **typed_values(self.document.variables, variables)}
        return self.document.when is None or self.conditions[self.document.when].holds(known)

    def broken_promises(self, facts: Mapping[str, Value], variables: Mapping[str, str]) -> tuple[str, ...]:
        """Return what the template promises and the source does not hold."""
        known = {**facts, **typed_values(self.document.variables, variables)}
        return tuple(text for text in self.document.promise if not self.conditions[text].holds(known))

    def variables(
        self, given: Mapping[str, str], facts: Mapping[str, Value], clock: Mapping[str, str]
    ) -> dict[str, str]:
        """Return the value of every variable; InvalidJob names those that are unknown, wrong or without one."""
        problems = [
            Problem(name, f"{self.name} has no such variable{nearest(name, self.document.variables)}")
            for name in given
            if name not in self.document.variables
        ]
        values: dict[str, str] = {}
        texts = {name: conditions.fact_text(value) for name, value in facts.items()} | dict(clock)
        for name, variable in self.document.variables.items():
            try:
                value = given[name] if name in given else self._chosen(variable, facts, texts | values, values)
                if value is None:
                    problems.append(Problem(name, f"has no value: give one with {name}=…"))
                else:
                    values[name] = check_value(variable, value)
            except InvalidJob as error:
                problems += [Problem(name, problem.message) for problem in error.problems]
            except MissingValue as error:
                problems.append(Problem(name, f"has no value, for {error.name} has none: give one with {name}=…"))
        if problems:
            raise InvalidJob(problems)
        return values

    def _chosen(
        self, variable: Variable, facts: Mapping[str, Value], texts: Mapping[str, str], values: Mapping[str, str]
    ) -> str | None:
        known = {**facts, **typed_values(self.document.variables, values)}
        for case in variable.cases:
            if self.conditions[case.when].holds(known):
                return placeholders.compiled(case.value).fill(texts)
        return None if variable.default is None else placeholders.compiled(variable.default).fill(texts)

    def fill(
        self,
        facts: Mapping[str, Value],
        variables: Mapping[str, str],
        clock: Mapping[str, str],
        keeps: Callable[[Condition, Mapping[str, Value]], bool] | None = None,
    ) -> dict[str, Any]:
        """Return the job's message for a source; `variables` has a value for each. InvalidJob names what is missing.

        `keeps` decides in place of the conditions what stays.
        """
        known: Mapping[str, Value] = {**facts, **typed_values(self.document.variables, variables)}
        texts = {name: conditions.fact_text(value) for name, value in facts.items()} | dict(clock) | dict(variables)
        numbers = {name for name, one in self.document.variables.items() if one.kind == "number"}
        problems: list[Problem] = []
        decide = keeps or (lambda condition, about: condition.holds(about))

        def filled(value: Any, path: str) -> Any:
            match value:
                case str() if has_placeholders(value):
                    text = _filled_text(value, texts, path, problems)
                    return number_of(text) if value.strip("{} ") in numbers and value.startswith("{{") else text
                case dict():
                    return {key: filled(item, below(path, key)) for key, item in value.items()}
                case list():
                    kept = [(index, item) for index, item in enumerate(value) if decide_item(item)]
                    return [filled(_without_when(item), f"{path}[{index}]") for index, item in kept]
                case _:
                    return value

        def decide_item(item: Any) -> bool:
            text = item.get(WHEN) if isinstance(item, dict) else None
            return not isinstance(text, str) or decide(self.conditions[text], known)

        document: dict[str, Any] = filled(self.document.job, "job")
        if problems:
            raise InvalidJob(problems)
        return document


def clock_of(moment: Any) -> dict[str, str]:
    """Return the texts of a moment, as a file's name may have them."""
    return {"date": moment.strftime("%Y-%m-%d"), "time": moment.strftime("%H-%M")}


def _filled_text(text: str, texts: Mapping[str, str], path: str, problems: list[Problem]) -> str:
    try:
        return placeholders.compiled(text).fill(texts)
    except MissingValue as error:
        problems.append(Problem(path, f"{{{{ {error.name} }}}} has no value: the source has none"))
    except InvalidJob as error:
        problems += [Problem(path, problem.message) for problem in error.problems]
    return ""


def below(path: str, key: str) -> str:
    """Return the path of a key in the object at `path`."""
    return f"{path}.{key}" if path else key


def _without_when(item: Any) -> Any:
    return {key: value for key, value in item.items() if key != WHEN} if isinstance(item, dict) else item
