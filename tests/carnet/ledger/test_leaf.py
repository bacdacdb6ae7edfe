"""Leaves: each kind has one form, and its hash says nothing to a stranger."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from carnet import canonical
from carnet.errors import FormatError, LocalProtocolError
from carnet.ledger.account import ENDED, Account, Count, day_of
from carnet.ledger.leaf import KINDS, ConsentLeaf, Leaf, parse_leaf, salted_hash
from carnet.states import EventKind, State
from tests.carnet.ledger.kit import account, consent, log_leaf, salt_of, story
from tests.consentkit import DAY_MS, VEHICLE

LEAVES: dict[str, Leaf] = {
    "log": log_leaf(),
    "a log with a long name": log_leaf(origin="a" * 128),
    "given": consent(),
    "withdrawn": consent(seq=3, event=EventKind.SILENT, state=State.WITHDRAWN),
    "day": account(3, 14, 1),
    "nothing on that day": account(1, 0),
    "a day that is over this millisecond": account(3, 14, time_ms=account(3, 14).time_ms - 1),
    "end": account(4, 14, 1, State.TERMINATED),
}


@pytest.mark.parametrize("leaf", LEAVES.values(), ids=LEAVES)
def test_a_leaf_comes_back_from_its_document(leaf: Leaf) -> None:
    assert parse_leaf(canonical.parse(canonical.encode(leaf.document()), 1024)) == leaf


@pytest.mark.parametrize("leaf", LEAVES.values(), ids=LEAVES)
def test_the_hash_is_that_of_salt_and_document(leaf: Leaf) -> None:
    """As the page says, in one line."""
    salt = salt_of(7)
    assert salted_hash(leaf, salt) == sha256(b"\x00" + salt + canonical.encode(leaf.document())).digest()


def test_one_leaf_with_two_salts_has_two_hashes() -> None:
    """Nobody sees that something happened twice, or can try what it was."""
    assert salted_hash(consent(), salt_of(1)) != salted_hash(consent(), salt_of(2))


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_another_salt_than_of_sixteen_bytes_is_refused(size: int) -> None:
    """A longer one could swallow the beginning of a document."""
    with pytest.raises(LocalProtocolError):
        salted_hash(consent(), bytes(size))


@pytest.mark.parametrize("leaf", LEAVES.values(), ids=LEAVES)
def test_a_leaf_with_a_member_more_or_less_or_of_another_type_is_refused(leaf: Leaf) -> None:
    document = leaf.document()
    wrong: list[dict[str, Any]] = [{**document, "vehicle": VEHICLE}, {**document, "v": 2}]
    wrong += [{name: value for name, value in document.items() if name != left_out} for left_out in document]
    others: tuple[object, ...] = (None, True, [], {}, -1, 2**53, "?")
    wrong += [{**document, name: other} for name in document for other in others]
    for each in wrong:
        with pytest.raises(FormatError) as refusal:
            parse_leaf(each)
        assert refusal.value.reason == "leaf_malformed"


@pytest.mark.parametrize("value", [None, [], "log", 1, {}, {"kind": []}])
def test_what_is_no_leaf_is_refused(value: object) -> None:
    with pytest.raises(FormatError):
        parse_leaf(value)


WRONG: dict[str, Leaf] = {
    "the first entry does something else than give": consent(event=EventKind.PAUSE, state=State.SUSPENDED),
    "a later entry gives": consent(seq=1),
    "a state that this event does not lead to": consent(seq=1, event=EventKind.WITHDRAW, state=State.GIVEN),
    "an event that is no document": consent(seq=1, event=EventKind.EXPIRE, state=State.EXPIRED),
    "no generation": consent(generation=0),
    "an entry in upper case": consent(entry="AB" * 32),
    "events without a last one": account(1, 3, last_event=""),
    "a last event without events": account(1, 0, last_event="00" * 16),
    "samples without events": account(1, 0, confirmed=Count(0, 3)),
    "number 0": account(0, 3),
    "a day that is not over": account(3, 14, time_ms=account(3, 14).time_ms - 2),
    "a day that no calendar has": account(1, 3, day="2025-02-29"),
    "a day in another form": account(1, 3, day="20251009"),
    "an end that is none": account(1, 3, 0, State.SUSPENDED),
    "the end of the end": account(1, 3, 0, State.WITHDRAWN),
    "a log without a name": log_leaf(origin=""),
    "a name with a blank": log_leaf(origin="carnet example"),
    "a name with a line feed": log_leaf(origin="carnet.example\n"),
    "a name with a plus": log_leaf(origin="carnet+example"),
    "a name of 129 characters": log_leaf(origin="a" * 129),
    "another tenant's form": log_leaf(tenant="rcp_aaaaaaaaaaaaaaaa"),
}


@pytest.mark.parametrize("leaf", WRONG.values(), ids=WRONG)
def test_a_leaf_that_makes_no_sense_is_neither_read_nor_written(leaf: Leaf) -> None:
    with pytest.raises(FormatError):
        parse_leaf(leaf.document())
    with pytest.raises(LocalProtocolError):
        salted_hash(leaf, salt_of(1))


def test_an_account_has_one_occasion() -> None:
    """Of a day, or of an end."""
    for ended, day in ((None, ""), (State.EXPIRED, "2025-10-09")):
        with pytest.raises(LocalProtocolError):
            account(1, 3, 0, ended, day=day)


def test_the_kit_has_every_kind() -> None:
    assert {str(leaf.document()["kind"]) for leaf in LEAVES.values()} == set(KINDS)


def test_no_leaf_names_a_vehicle() -> None:
    """Receipts go to recipients, who know a vehicle by their own name for it only."""
    for leaf in story().leaves:
        assert not {"vehicle", "device", "epoch"} & set(leaf.document())


def test_the_states_in_which_a_consent_ends_are_those_of_the_table() -> None:
    assert {*ENDED} == {State.WITHDRAWING, State.REVOKING, State.TERMINATED, State.INVALIDATED, State.EXPIRED}


def test_a_day_begins_at_midnight_in_utc() -> None:
    assert [day_of(ms) for ms in (0, DAY_MS - 1, DAY_MS)] == ["1970-01-01", "1970-01-01", "1970-01-02"]


def test_the_story_has_both_sorts() -> None:
    """What other tests tell of one consent."""
    sorts = [type(leaf) for leaf in story().leaves]
    assert sorts.count(Account) == 4 and sorts.count(ConsentLeaf) == 3
