"""A template, compiled: checked whole, then filled for one source after another."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from worker.core import placeholders
from worker.core.errors import InvalidJob, Problem, RefusedPath
from worker.core.hints import bounded_hints, nearest
from worker.core.location import External, parse_location
from worker.core.message.wire import parse, problems_of
from worker.core.placeholders import MissingValue, has_placeholders
from worker.core.template import MAX_VALUE, TemplateDocument
from worker.media import conditions
from worker.media.conditions import FACTS, Condition, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from worker.core.template import Variable
    from worker.media.conditions import Value

CLOCK: Final = ("date", "time")
"""The names of a job's time of making that a template may use: `2026-11-27`, `14-05`."""
WHEN: Final = "when"
_OUTSIDE: Final = ("when", "promise")


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
                    values[name] = _check_value(variable, value)
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
                    return _number(text) if value.strip("{} ") in numbers and value.startswith("{{") else text
                case dict():
                    return {key: filled(item, _below(path, key)) for key, item in value.items()}
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


def compile_template(name: str, version: int, document: Any) -> Blueprint:
    """Return the template that a document is; InvalidJob with every unknown field, name and condition."""
    try:
        with bounded_hints():
            read = TemplateDocument.model_validate(document)
    except ValidationError as error:
        raise InvalidJob(problems_of(error, "", TemplateDocument)) from error
    return _Compiler(name, version, read).blueprint()


def clock_of(moment: Any) -> dict[str, str]:
    """Return the texts of a moment, as a file's name may have them."""
    return {"date": moment.strftime("%Y-%m-%d"), "time": moment.strftime("%H-%M")}


def kinds(variables: Mapping[str, Variable]) -> dict[str, Kind]:
    """Return what conditions may do with each variable."""
    return {name: Kind.NUMBER if one.kind == "number" else Kind.TEXT for name, one in variables.items()}


def typed_values(variables: Mapping[str, Variable], values: Mapping[str, str]) -> dict[str, Value]:
    """Return the values as conditions compare them."""
    return {
        name: float(value) if variables[name].kind == "number" else value
        for name, value in values.items()
        if name in variables
    }


def _check_value(variable: Variable, value: str) -> str:
    if len(value) > MAX_VALUE:
        raise InvalidJob([Problem("", f"has {len(value)} characters; at most {MAX_VALUE} are accepted")])
    if variable.choices and value not in variable.choices:
        raise InvalidJob([Problem("", f"is one of {', '.join(variable.choices)}, not {value[:60]!r}")])
    if variable.kind == "number":
        try:
            float(value)
        except ValueError:
            raise InvalidJob([Problem("", f"is a number, not {value[:60]!r}")]) from None
        if not value.strip("+-").replace(".", "", 1).isdigit():
            raise InvalidJob([Problem("", f"is a plain number, not {value[:60]!r}")])
    if variable.kind == "folder":
        return _folder(value)
    return placeholders.safe_name(value) if variable.kind == "name" else value


def _folder(value: str) -> str:
    """Return a folder without a slash at its end; it is a place of a storage, whichever roots allow it."""
    try:
        place = parse_location(value)
    except RefusedPath as error:
        raise InvalidJob([Problem("", str(error))]) from error
    if not isinstance(place, External) or place.is_web:
        raise InvalidJob([Problem("", f"is a folder like nas://out, not {value[:60]!r}")])
    return str(place).rstrip("/")


def _number(text: str) -> float | int | str:
    """Return a number's text as the number; whole ones are integers."""
    try:
        return int(text)
    except ValueError:
        return float(text) if text else text


def _filled_text(text: str, texts: Mapping[str, str], path: str, problems: list[Problem]) -> str:
    try:
        return placeholders.compiled(text).fill(texts)
    except MissingValue as error:
        problems.append(Problem(path, f"{{{{ {error.name} }}}} has no value: the source has none"))
    except InvalidJob as error:
        problems += [Problem(path, problem.message) for problem in error.problems]
    return ""


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _without_when(item: Any) -> Any:
    return {key: value for key, value in item.items() if key != WHEN} if isinstance(item, dict) else item


class _Compiler:
    """Reads a template's document once, and notes every name, condition and problem."""

    def __init__(self, name: str, version: int, document: TemplateDocument) -> None:
        self._name, self._version, self._document = name, version, document
        self._kinds = kinds(document.variables)
        self._conditions: dict[str, Condition] = {}
        self._names: set[str] = set()
        self._problems: list[Problem] = []

    def blueprint(self) -> Blueprint:
        document = self._document
        for text, path in (
            (document.when, "when"),
            *((one, f"promise[{i}]") for i, one in enumerate(document.promise)),
        ):
            if text is not None:
                self._condition(text, path, self._kinds)
        self._variables(document.variables)
        self._walk(document.job, "job")
        self._size()
        if self._problems:
            raise InvalidJob(self._problems[:100])
        return Blueprint(self._name, self._version, document, frozenset(self._names), self._conditions)

    def _size(self) -> None:
        """Let a document be refused that could be no message: too large, too deep, with what no database stores."""
        try:
            parse(json.dumps(self._document.job).encode())
        except InvalidJob as error:
            self._problems += [Problem(_below("job", one.path), one.message) for one in error.problems]

    def _variables(self, variables: Mapping[str, Variable]) -> None:
        before: dict[str, Kind] = {}
        for name, variable in variables.items():
            path = f"variables.{name}"
            if name in CLOCK or name in {one.partition(".")[0] for one in FACTS}:
                self._problems.append(Problem(path, "is the name of a fact: give it another one"))
            texts = [(variable.default, f"{path}.default")] if variable.default is not None else []
            for index, case in enumerate(variable.cases):
                self._condition(case.when, f"{path}.cases[{index}].when", before)
                texts.append((case.value, f"{path}.cases[{index}].value"))
            for text, where in texts:
                self._text(text, where, before)
            before[name] = self._kinds[name]

    def _condition(self, text: str, path: str, variables: Mapping[str, Kind]) -> None:
        try:
            with bounded_hints():
                condition = conditions.compile_condition(text, variables)
        except InvalidJob as error:
            self._problems += [Problem(path, one.message) for one in error.problems]
            return
        self._conditions[text] = condition
        self._names |= condition.names

    def _text(self, text: str, path: str, variables: Iterable[str]) -> None:
        if not has_placeholders(text):
            return
        try:
            names = placeholders.compiled(text).names
        except InvalidJob as error:
            self._problems += [Problem(path, one.message) for one in error.problems]
            return
        known = {*FACTS, *CLOCK, *variables}
        for name in names:
            if name in known:
                self._names.add(name)
            else:
                hint = nearest(name, known) or placeholders.known({*CLOCK, *variables, "source.stem", "…"})
                self._problems.append(Problem(path, f"unknown name {name[:60]!r}{hint}"))

    def _walk(self, value: Any, path: str, *, listed: bool = False) -> None:
        match value:
            case str():
                self._text(value, path, self._kinds)
            case list():
                for index, item in enumerate(value):
                    self._walk(item, f"{path}[{index}]", listed=True)
            case dict():
                for key, item in value.items():
                    self._key(key, item, _below(path, key), listed=listed)
            case _:
                pass

    def _key(self, key: str, value: Any, path: str, *, listed: bool) -> None:
        if has_placeholders(key):
            self._problems.append(Problem(path, "a key holds no {{ … }}"))
        if key == WHEN and listed:
            if isinstance(value, str):
                self._condition(value, path, self._kinds)
            else:
                self._problems.append(Problem(path, "is a condition, a text"))
        elif key == "module" and isinstance(value, str) and has_placeholders(value):
            self._problems.append(Problem(path, "the module is the template's own: it holds no {{ … }}"))
        elif path == "job.job_id":
            self._problems.append(Problem(path, "is given to each job when it is made: leave it out"))
        else:
            self._walk(value, path)
