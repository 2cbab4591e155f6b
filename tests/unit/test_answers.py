"""Since when a database answers without a gap in which a lease could run out, by a clock of the test's own."""

from __future__ import annotations

from worker.adapters.sql.answers import Answers

LEASE = 8.0
GAP = 6.0


def test_a_database_that_never_answered_is_not_steady():
    assert Answers(GAP).steady_seconds == 0


def test_answers_without_a_gap_add_up_and_an_outage_begins_anew():
    now = [100.0]
    answers = Answers(GAP, lambda: now[0])
    for now[0] in (100.0, 105.0, 111.0, 116.0):
        answers.note()
    assert answers.steady_seconds == 16
    # 20 s without an answer: whoever holds a lease has a whole one from here on.
    for now[0], steady in ((136.0, 0), (141.0, 5), (144.0, 8)):
        answers.note()
        assert answers.steady_seconds == steady


def test_no_outage_that_ends_a_renewed_lease_fits_between_two_answers():
    renewed_every = LEASE / 8
    assert LEASE - renewed_every > GAP
