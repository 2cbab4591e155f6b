"""A template's document compiled: every unknown name, every faulty condition is a problem with its place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from worker.control.intake.blueprint import CLOCK, WHEN, Blueprint, below
from worker.control.intake.variable_values import kinds
from worker.core import placeholders
from worker.core.errors import InvalidJob, Problem
from worker.core.hints import bounded_hints, nearest
from worker.core.message.wire import parse, problems_of
from worker.core.placeholders import has_placeholders
from worker.core.template import TemplateDocument
from worker.media import conditions
from worker.media.conditions import FACTS, Condition, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.core.template import Variable


def compile_template(name: str, version: int, document: Any) -> Blueprint:
    """Return the template that a document is; InvalidJob with every unknown field, name and condition."""
    try:
        with bounded_hints():
            read = TemplateDocument.model_validate(document)
    except ValidationError as error:
        raise InvalidJob(problems_of(error, "", TemplateDocument)) from error
    return _Compiler(name, version, read).blueprint()


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
            self._problems += [Problem(below("job", one.path), one.message) for one in error.problems]

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
                    self._key(key, item, below(path, key), listed=listed)
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
