"""Followers of a log: growth is proven, and a log that was forked, cut or rewritten is seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carnet.ack import Ack
from carnet.ledger.follow import CONSISTENT, SENTENCES, Verdict, head_of, judge
from carnet.ledger.merkle import EMPTY, TreeHead
from tests.carnet.ledger.kit import hashed

SIZE = 70
LOG, OTHER = hashed(SIZE), hashed(SIZE, b"another history")
SIZES = st.integers(1, SIZE)


def test_the_first_head_is_remembered() -> None:
    judgement = judge(EMPTY, LOG.head(5))
    assert (judgement.verdict, judgement.seen) == (Verdict.FIRST, LOG.head(5))


def test_no_log_yet_is_nothing_new() -> None:
    assert judge(EMPTY, EMPTY).verdict is Verdict.SAME


@given(SIZES, SIZES)
def test_a_log_that_grew_is_followed_by_its_proof(first: int, second: int) -> None:
    """And an older head is shown to be its beginning by the same proof."""
    first, second = sorted((first, second))
    path = LOG.consistency(first, second)
    grown = judge(LOG.head(first), LOG.head(second), path)
    assert grown.seen == LOG.head(second) and grown.consistent
    older = judge(LOG.head(second), LOG.head(first), path)
    assert older.seen == LOG.head(second) and older.consistent
    assert (grown.verdict, older.verdict) in {(Verdict.GROWN, Verdict.OLDER), (Verdict.SAME, Verdict.SAME)}


@given(SIZES, SIZES)
def test_growth_without_a_proof_moves_nothing(first: int, second: int) -> None:
    if first < second:
        judgement = judge(LOG.head(first), LOG.head(second))
        assert (judgement.verdict, judgement.seen) == (Verdict.UNPROVEN, LOG.head(first))


@given(SIZES)
def test_two_histories_of_one_size_are_a_fork(size: int) -> None:
    judgement = judge(LOG.head(size), OTHER.head(size))
    assert (judgement.verdict, judgement.seen, judgement.consistent) == (Verdict.FORKED, LOG.head(size), False)


@given(SIZES, SIZES, st.booleans())
def test_a_rewritten_log_has_no_proof_of_growth(first: int, second: int, honest: bool) -> None:
    """Neither its own proof nor the one of what it once was leads to both heads."""
    if first < second:
        path = (LOG if honest else OTHER).consistency(first, second)
        judgement = judge(LOG.head(first), OTHER.head(second), path)
        assert (judgement.verdict, judgement.seen) == (Verdict.FORKED, LOG.head(first))


@given(SIZES, SIZES)
def test_a_cut_log_is_seen(first: int, second: int) -> None:
    """Without a proof it may be an old message; the old measure stays. With one of another history it is a fork."""
    if first > second:
        seen = LOG.head(first)
        assert judge(seen, LOG.head(second)).verdict is Verdict.SHRUNK
        assert judge(seen, OTHER.head(second), OTHER.consistency(second, first)).verdict is Verdict.FORKED
        assert judge(seen, LOG.head(second)).seen == seen


def test_a_log_that_is_empty_again_was_cut() -> None:
    """Every log begins with the empty one, so no proof could say that."""
    for path in (None, ()):
        judgement = judge(LOG.head(3), EMPTY, path)
        assert (judgement.verdict, judgement.seen) == (Verdict.SHRUNK, LOG.head(3))


def test_a_cut_log_that_grows_again_to_where_it_was_is_a_fork() -> None:
    """Restored from a backup, with other leaves since."""
    seen = LOG.head(40)
    restored = hashed(30)
    for index in range(30, 50):
        restored.add_hash(OTHER.nodes[0, index])
    assert judge(seen, restored.head(40)).verdict is Verdict.FORKED
    assert judge(seen, restored.head(50), restored.consistency(40, 50)).verdict is Verdict.FORKED


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_has_its_sentence(verdict: Verdict) -> None:
    assert SENTENCES[verdict]


def test_what_is_consistent_is_said_once() -> None:
    assert {*Verdict} - CONSISTENT == {Verdict.UNPROVEN, Verdict.SHRUNK, Verdict.FORKED}


def test_the_head_in_an_acknowledgement() -> None:
    """Zeros are no log."""
    ack = Ack(bytes(8), 0, bytes(32), 1)
    assert head_of(ack) == EMPTY
    named = Ack(bytes(8), 0, bytes(32), 1, log_size=5, log_root=LOG.head(5).root)
    assert head_of(named) == TreeHead(5, LOG.head(5).root) == LOG.head(5)
