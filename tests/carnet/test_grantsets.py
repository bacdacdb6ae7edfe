"""Grant sets and floors: the good survive the bad, generations only rise, and what has ended does not come back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carnet.consent import Documents, Floors, State, compile_set, encode_grant_set, parse_grant_set, sign_addition
from carnet.errors import ConsentError
from carnet.ids import format_id
from tests.consentkit import (
    DAY_MS,
    GIVEN_MS,
    OTHER_RECORD_ID,
    OWNER,
    OWNER_KEY,
    RECORD_ID,
    SECOND_KEY,
    documents,
    entries,
    event,
    grant_set,
    token,
)

BOTH = (documents(), documents(id=OTHER_RECORD_ID))
FIRST = compile_set(grant_set(1, *BOTH), OWNER, Floors())


def _reasons(compiled: object) -> list[str]:
    return [one.reason for one in compiled.refused]  # type: ignore[attr-defined]


def test_a_set_comes_back_from_its_bytes() -> None:
    """And its hash is of those bytes."""
    one = grant_set(7, *BOTH, ended=((format_id("rec_", b"record-old"), GIVEN_MS),), keys=("a.b.c",))
    assert parse_grant_set(encode_grant_set(one)) == one


def test_every_record_has_its_grant() -> None:
    """In the order of the set."""
    assert [grant.record_id for grant in FIRST.grants] == [RECORD_ID, OTHER_RECORD_ID]
    assert FIRST.refused == ()
    assert set(FIRST.floors.heads) == {RECORD_ID, OTHER_RECORD_ID}


def test_a_broken_record_is_refused_alone_and_may_be_mended() -> None:
    """The good one holds; the broken one is silent, not ended."""
    broken = replace(BOTH[0], offer=b"{}")
    second = compile_set(grant_set(2, broken, BOTH[1]), OWNER, FIRST.floors)
    assert [grant.record_id for grant in second.grants] == [OTHER_RECORD_ID]
    assert [(one.kind, one.index, one.record_id, one.reason) for one in second.refused] == [
        ("record", 0, RECORD_ID, "offer_malformed")
    ]
    assert len(compile_set(grant_set(3, *BOTH), OWNER, second.floors).grants) == 2


def test_a_missing_record_has_ended_for_ever() -> None:
    """A later set cannot bring it back."""
    second = compile_set(grant_set(2, BOTH[1]), OWNER, FIRST.floors)
    assert second.floors.ended == {RECORD_ID: GIVEN_MS + 30 * DAY_MS}
    third = compile_set(grant_set(3, *BOTH), OWNER, second.floors)
    assert (_reasons(third), [grant.record_id for grant in third.grants]) == (["record_ended"], [OTHER_RECORD_ID])


def test_a_refused_record_without_id_keeps_missing_ones_from_ending() -> None:
    """It may be the missing one."""
    second = compile_set(grant_set(2, Documents(b"{}", "rubbish"), BOTH[1]), OWNER, FIRST.floors)
    assert second.floors.ended == {}
    assert len(compile_set(grant_set(3, *BOTH), OWNER, second.floors).grants) == 2


def test_a_refused_key_keeps_no_missing_record_from_ending() -> None:
    second = compile_set(grant_set(2, BOTH[1], keys=("a.b.c",)), OWNER, FIRST.floors)
    assert [(one.kind, one.record_id) for one in second.refused] == [("key", None)]
    assert set(second.floors.ended) == {RECORD_ID}


def test_an_end_by_event_is_an_end() -> None:
    """Withdrawn, then shown again as if it were not."""
    second = compile_set(grant_set(2, documents("withdraw"), BOTH[1]), OWNER, FIRST.floors)
    assert [grant.state for grant in second.grants] == [State.WITHDRAWING, State.GIVEN]
    assert RECORD_ID in second.floors.ended
    assert _reasons(compile_set(grant_set(3, *BOTH), OWNER, second.floors)) == ["record_ended"]


def test_the_same_set_again_changes_nothing() -> None:
    """Sets repeat until a check-in names their generation."""
    again = compile_set(grant_set(1, *BOTH), OWNER, FIRST.floors)
    assert (again.grants, again.floors) == (FIRST.grants, FIRST.floors)


@pytest.mark.parametrize(
    "generation, reason", [(0, "generation_rolled_back"), (1, "generation_forked")], ids=["older", "same"]
)
def test_an_older_set_or_another_of_the_same_generation_is_refused(generation: int, reason: str) -> None:
    """The set before stays."""
    with pytest.raises(ConsentError) as refusal:
        compile_set(grant_set(generation, BOTH[0]), OWNER, FIRST.floors)
    assert refusal.value.reason == reason


def test_a_key_in_the_set_counts_for_its_records() -> None:
    """And is kept with the owner's keys."""
    addition = sign_addition(OWNER, SECOND_KEY.public, GIVEN_MS, OWNER_KEY.secret)
    by_second = Documents(documents().offer, token(key=SECOND_KEY))
    compiled = compile_set(grant_set(1, by_second, keys=(addition,)), OWNER, Floors())
    assert (len(compiled.grants), compiled.owner.added) == (1, (SECOND_KEY.public,))


def test_two_tokens_of_one_record_refuse_the_set() -> None:
    """Nobody can say which of them holds."""
    other = documents(reference="another")
    with pytest.raises(ConsentError) as refusal:
        compile_set(grant_set(1, BOTH[0], other), OWNER, Floors())
    assert refusal.value.reason == "grants_malformed"


def test_ended_records_are_forgotten_when_nothing_can_bring_them_back() -> None:
    """A renewal signed before the end reaches at most 365 days further."""
    end_ms = GIVEN_MS + 30 * DAY_MS
    floors = compile_set(grant_set(2, BOTH[1]), OWNER, FIRST.floors).floors
    assert RECORD_ID in floors.pruned(end_ms + 365 * DAY_MS - 1).ended
    assert RECORD_ID not in floors.pruned(end_ms + 365 * DAY_MS).ended
    story = entries()
    longest = event("renew", story, end_ms - 1, expires_ms=end_ms - 1 + 365 * DAY_MS)
    renewed = compile_set(grant_set(3, Documents(documents().offer, story[0], (longest,))), OWNER, Floors(2))
    assert not renewed.grants[0].allows(end_ms + 365 * DAY_MS)


HISTORIES = [(), ("pause",), ("pause", "resume"), ("pause", "resume", "withdraw"), ("suspend",), ("suspend", "resume")]


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from([None, *HISTORIES])), max_size=8))
def test_generations_and_histories_only_rise(steps: list[tuple[int, tuple[str, ...] | None]]) -> None:
    """Invariants 6 and 9: over any order of sets, an accepted one is newer, and a grant continues what was seen
    before.
    """
    floors, ended = Floors(), False
    seen: tuple[str, ...] = ()
    for generation, kinds in steps:
        offered = [] if kinds is None else [documents(*kinds)]
        try:
            compiled = compile_set(grant_set(generation, *offered), OWNER, floors)
        except ConsentError:
            assert generation <= floors.generation
            continue
        assert compiled.floors.generation == generation >= floors.generation
        for grant in compiled.grants:
            assert not ended
            assert grant.chain[: len(seen)] == seen
            seen = grant.chain
        ended = ended or RECORD_ID in compiled.floors.ended
        assert RECORD_ID not in compiled.floors.heads or not ended
        floors = compiled.floors
