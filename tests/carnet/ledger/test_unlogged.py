"""An entry without a leaf is excused only if the owner's own signature dates it before the log began."""

from __future__ import annotations

import pytest

from carnet.errors import LedgerError
from carnet.ledger.leaf import ConsentLeaf, LogLeaf
from carnet.ledger.receipt import Receipt
from carnet.ledger.unlogged import require_before
from carnet.states import EventKind, State
from tests import consentkit as kit

KINDS = ("pause", "resume")
ENTRIES = kit.entries(*KINDS)
LAST_MS = kit.GIVEN_MS + len(KINDS) * kit.DAY_MS
LOG = LogLeaf("carnet.example/log", kit.TENANT, LAST_MS + 1)
NOW_MS = LAST_MS + kit.DAY_MS


def judge(entries: list[str], leaf: LogLeaf | ConsentLeaf = LOG, key: bytes = kit.OWNER_KEY.public) -> None:
    require_before(kit.RECORD_ID, entries, Receipt(leaf, bytes(16), 0, (), ""), NOW_MS, [key])


def test_what_is_older_than_the_log_is_excused() -> None:
    judge(ENTRIES[:1])
    judge(ENTRIES)


@pytest.mark.parametrize("began_ms", [LAST_MS, kit.GIVEN_MS, 0, NOW_MS + 1])
def test_what_may_be_younger_is_missing(began_ms: int) -> None:
    """In the very millisecond too, and if the log says that it has not begun yet."""
    with pytest.raises(LedgerError) as refused:
        judge(ENTRIES, LogLeaf(LOG.origin, LOG.tenant, began_ms))
    assert refused.value.reason == "leaf_missing"


@pytest.mark.parametrize(
    "entries",
    [
        [kit.token(id=kit.OTHER_RECORD_ID)],
        [ENTRIES[0], kit.event("pause", ENTRIES[:1], record=kit.OTHER_RECORD_ID)],
        [ENTRIES[0], ENTRIES[2]],
        ENTRIES[1:],
    ],
    ids=["another record", "an event of another", "one left out", "no token"],
)
def test_what_was_signed_for_something_else_dates_nothing(entries: list[str]) -> None:
    with pytest.raises(LedgerError) as refused:
        judge(entries)
    assert refused.value.reason == "leaf_missing"


def test_neither_does_a_signature_of_a_key_that_is_not_known() -> None:
    """The cloud may name keys as it likes."""
    with pytest.raises(LedgerError, match="cannot be dated by this key"):
        judge(ENTRIES, key=bytes(32))


def test_another_leaf_at_the_place_of_the_first_says_nothing() -> None:
    leaf = ConsentLeaf(kit.RECORD_ID, kit.RECIPIENT, 0, EventKind.GIVE, "0" * 64, State.GIVEN, 1, LOG.time_ms)
    with pytest.raises(LedgerError, match="does not show when its log began"):
        judge(ENTRIES, leaf)
