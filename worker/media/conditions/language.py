"""The grammar of conditions: a text becomes a function of facts, or the reason why it cannot.

`or` binds least, then `and`, `not`, and one comparison: a name, a number with its unit, a text, `true` or `false` on
each side of `==`, `!=`, `<`, `<=`, `>`, `>=`; or a text and a list after `in` or `not in`, a name or `['a', 'b']`.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from worker.core.errors import InvalidJob, Problem
from worker.core.hints import nearest
from worker.core.template import MAX_CONDITION
from worker.media.conditions.facts import FACTS, Fact, Kind, Value
from worker.media.languages import bcp47, is_tag
from worker.media.selection import codec_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Test: TypeAlias = "Callable[[Mapping[str, Value]], bool]"
    Read: TypeAlias = "Callable[[Mapping[str, Value]], Value | None]"

MAX_DEPTH: Final = 32
UNITS: Final[Mapping[str, float]] = {
    "s": 1, "min": 60, "h": 3600, "k": 1e3, "M": 1e6, "G": 1e9, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
    "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}  # fmt: skip
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>-?\d+(?:\.\d+)?)(?P<unit>[A-Za-z]+)?"
    r"|'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\""
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*)|(?P<mark>==|!=|<=|>=|[<>()\[\],]))"
)
_WORDS: Final = frozenset({"and", "or", "not", "in", "true", "false"})
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that can be asked; `names` are the facts and variables that it looks at."""

    text: str
    names: frozenset[str]
    holds: Test


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int
    number: float = 0.0


@dataclass(frozen=True, slots=True)
class _Term:
    """One side of a comparison: a name, or a literal."""

    kind: Kind
    read: Read
    token: _Token
    fact: Fact | None = None
    literal: Value | None = None


def compile_condition(text: str, variables: Mapping[str, Kind] | None = None) -> Condition:
    """Return the condition in `text`; InvalidJob, without a path, says where it is wrong and what is meant."""
    return _compile_cached(text, tuple(sorted((variables or {}).items(), key=lambda item: item[0])))


@lru_cache(maxsize=1024)
def _compile_cached(text: str, variables: tuple[tuple[str, Kind], ...]) -> Condition:
    if len(text) > MAX_CONDITION:
        raise _refusal(f"a condition has at most {MAX_CONDITION} characters")
    known = {name: Fact(kind, "a variable") for name, kind in variables} | dict(FACTS)
    parser = _Parser(_tokens(text), known)
    test = parser.whole()
    return Condition(text, frozenset(parser.names), test)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            rest = text[at:].lstrip()
            hint = "; equal is ==" if rest.startswith("=") else ""
            raise _refusal(f"{rest[:20]!r} at character {len(text) - len(rest) + 1} cannot be read{hint}")
        found.append(_token(match))
        at = match.end()
    return [*found, _Token("end", "the end", end)]


def _token(match: re.Match[str]) -> _Token:
    at = match.start(match.lastgroup or 0)
    if match["number"] is not None:
        unit = match["unit"]
        if unit is not None and unit not in UNITS:
            raise _refusal(f"unknown unit {unit[:20]!r}{nearest(unit, UNITS) or '; known are ' + ', '.join(UNITS)}")
        return _Token("number", match[0].strip(), match.start("number"), float(match["number"]) * UNITS.get(unit, 1.0))
    for kind in ("single", "double"):
        if match[kind] is not None:
            return _Token("text", match[kind], at)
    name = match["name"]
    if name is not None:
        return _Token("word" if name in _WORDS else "name", name, at)
    return _Token("mark", match["mark"], at)


class _Parser:
    def __init__(self, tokens: list[_Token], known: Mapping[str, Fact]) -> None:
        self._tokens, self._known, self._at, self._depth = tokens, known, 0, 0
        self.names: set[str] = set()

    def whole(self) -> Test:
        test = self._any()
        if self._next.kind != "end":
            raise _syntax_error(self._next, "and, or, or the end")
        return test

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *texts: str) -> _Token | None:
        """Return the next token and go on, if it is one of these words or marks."""
        token = self._next
        if token.kind in {"word", "mark"} and token.text in texts:
            self._at += 1
            return token
        return None

    def _any(self) -> Test:
        tests = [self._all()]
        while self._take("or"):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda facts: any(test(facts) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._take("and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda facts: all(test(facts) for test in tests)

    def _one(self) -> Test:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _refusal(f"is nested deeper than {MAX_DEPTH} levels")
        try:
            if self._take("not"):
                inner = self._one()
                return lambda facts: not inner(facts)
            if self._take("("):
                inner = self._any()
                if not self._take(")"):
                    raise _syntax_error(self._next, ")")
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Test:
        left = self._term()
        if sign := self._take(*_COMPARE):
            return _comparison_test(left, sign.text, self._term())
        if self._take("in"):
            return self._membership(left)
        if self._take("not"):
            if not self._take("in"):
                raise _syntax_error(self._next, "in")
            inside, read = self._membership(left), left.read
            return lambda facts: read(facts) is not None and not inside(facts)
        if left.kind is not Kind.FLAG:
            raise _refusal(f"{left.token.text!r} is {left.kind.value}: compare it with something")
        read = left.read
        return lambda facts: read(facts) is True

    def _membership(self, left: _Term) -> Test:
        if self._take("["):
            items = [self._term()]
            while self._take(","):
                items.append(self._term())
            if not self._take("]"):
                raise _syntax_error(self._next, "]")
            tests = [_comparison_test(left, "==", item) for item in items]
            return lambda facts: any(test(facts) for test in tests)
        right = self._term()
        if right.kind is not Kind.TEXTS:
            raise _refusal(f"{right.token.text!r} is {right.kind.value}; after `in` comes a list")
        if left.kind is not Kind.TEXT:
            raise _refusal(f"{left.token.text!r} is {left.kind.value}, {right.token.text!r} a list of texts")
        left, read = _normalised_literal(left, right.fact), right.read
        return lambda facts: _holds_text(left.read(facts), read(facts), right.fact)

    def _term(self) -> _Term:
        token = self._next
        self._at += 1
        match token.kind:
            case "number":
                return _literal(Kind.NUMBER, token, token.number)
            case "text":
                return _literal(Kind.TEXT, token, token.text)
            case "word" if token.text in {"true", "false"}:
                return _literal(Kind.FLAG, token, token.text == "true")
            case "name":
                return self._name_term(token)
            case _:
                raise _syntax_error(token, "a name, a number or a text")

    def _name_term(self, token: _Token) -> _Term:
        fact, name = self._known.get(token.text), token.text
        if fact is None:
            raise _refusal(f"unknown name {name[:60]!r}{nearest(name, self._known) or _alike(name, self._known)}")
        self.names.add(name)
        return _Term(fact.kind, lambda facts: facts.get(name), token, fact)


def _literal(kind: Kind, token: _Token, value: Value) -> _Term:
    return _Term(kind, lambda _: value, token, None, value)


def _comparison_test(left: _Term, sign: str, right: _Term) -> Test:
    """Return the comparison of two of one kind; false where the source does not have one of them."""
    for side in (left, right):
        if side.kind is Kind.TEXTS:
            raise _refusal(f"{side.token.text!r} is a list of texts: write 'text' in {side.token.text}")
    if left.kind is not right.kind:
        raise _refusal(f"{left.token.text!r} is {left.kind.value}, {right.token.text!r} is {right.kind.value}")
    if left.kind is not Kind.NUMBER and sign not in {"==", "!="}:
        raise _refusal(f"{left.token.text!r} is {left.kind.value}, which has no order: use == or !=")
    left, right = _normalised_literal(left, right.fact), _normalised_literal(right, left.fact)
    compare, one, other = _COMPARE[sign], left.read, right.read

    def test(facts: Mapping[str, Value]) -> bool:
        a, b = one(facts), other(facts)
        return a is not None and b is not None and compare(a, b)

    return test


def _normalised_literal(term: _Term, beside: Fact | None) -> _Term:
    """Return a literal in the words of the fact that it is compared with: `h265` is hevc, `eng` is en."""
    if beside is None or not isinstance(term.literal, str) or not beside.words:
        return term
    if beside.words == "codec":
        try:
            return _literal(Kind.TEXT, term.token, codec_name(term.literal))
        except ValueError as error:
            raise _refusal(str(error)) from error
    if not is_tag(term.literal):
        raise _refusal(f"{term.literal[:40]!r} is no language; write en, eng or pt-BR")
    return _literal(Kind.TEXT, term.token, bcp47(term.literal))


def _holds_text(text: Value | None, texts: Value | None, fact: Fact | None) -> bool:
    if not isinstance(text, str) or not isinstance(texts, tuple):
        return False
    if fact is not None and fact.words == "language":
        return any(one == text or one.startswith(f"{text}-") for one in texts)
    return text in texts


def _alike(name: str, known: Mapping[str, Fact]) -> str:
    """Return the names that end as `name` does (`height`), else all of its group (`video.hight`)."""
    tail, group = name.rpartition(".")[2], f"{name.partition('.')[0]}."
    alike = [one for one in known if one.rpartition(".")[2] == tail] or [one for one in known if one.startswith(group)]
    return f"; did you mean {' or '.join(map(repr, alike))}?" if alike else ""


def _syntax_error(token: _Token, wanted: str) -> InvalidJob:
    where = "at the end" if token.kind == "end" else f"{token.text!r} at character {token.at + 1}"
    return _refusal(f"{where}: {wanted} is expected here")


def _refusal(message: str) -> InvalidJob:
    return InvalidJob([Problem("", message)])
