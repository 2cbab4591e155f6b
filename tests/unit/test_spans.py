"""Spans of bytes: joined, and subtracted."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from worker.core.spans import missing, total, union

SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6)


def _bytes(spans) -> set[int]:
    return {at for first, last in spans for at in range(first, last)}


@given(SPANS)
def test_a_union_has_the_same_bytes_and_no_two_spans_touch(spans):
    joined = union(spans)
    assert _bytes(joined) == _bytes(spans)
    assert total(joined) == len(_bytes(spans))
    assert all(one[1] < other[0] for one, other in itertools.pairwise(joined))


@given(SPANS, SPANS)
def test_missing_spans_are_those_needed_and_not_present(wanted, present):
    assert _bytes(missing(wanted, present)) == _bytes(wanted) - _bytes(present)
