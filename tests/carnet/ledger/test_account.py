"""Accounts of one record: none is missing, none says less, and after the end none says more."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from carnet.errors import LedgerError
from carnet.ledger.account import Account, Count, judge_accounts
from carnet.states import State
from tests.carnet.ledger.kit import account
from tests.consentkit import OTHER_RECORD_ID, TENANT

END = State.WITHDRAWING
Placed = list[tuple[int, Account]]


def outcome(placed: Placed) -> str:
    try:
        judge_accounts(placed)
    except LedgerError as error:
        return error.reason
    return "accepted"


def placed(*accounts: Account) -> Placed:
    """In a log in which other things happen too."""
    return [(7 * index + 3, each) for index, each in enumerate(accounts)]


GOOD = placed(account(1, 5), account(2, 9, 1), account(3, 10, 2, END), account(4, 12))
MORE: dict[str, tuple[Placed, str]] = {
    "nothing to compare": ([], "accepted"),
    "one": (placed(account(3, 5)), "accepted"),
    "the story": (GOOD, "accepted"),
    "from the middle on": (GOOD[2:], "accepted"),
    "a day without anything new": (placed(account(1, 5), account(2, 5)), "accepted"),
    "an end in the same millisecond": (
        placed(account(1, 5), account(2, 5, 0, END, time_ms=account(1, 5).time_ms)),
        "accepted",
    ),
    "an end without anything ever": (placed(account(1, 0), account(2, 0, 0, END)), "accepted"),
    "one is missing": ([GOOD[0], *GOOD[2:]], "account_gap"),
    "one is there twice": ([GOOD[0], *GOOD], "account_gap"),
    "two tell the same number differently": (placed(account(1, 5), account(1, 6)), "account_gap"),
    "in another order": ([GOOD[1], GOOD[0]], "account_gap"),
    "of another record": (placed(account(1, 5), account(2, 9, record=OTHER_RECORD_ID)), "account_other"),
    "of another recipient": (placed(account(1, 5), account(2, 9, recipient=f"rcp_{TENANT[4:]}")), "account_other"),
    "an earlier place in the log": ([(8, account(1, 5)), (7, account(2, 9))], "account_order"),
    "the same place in the log": ([(8, account(1, 5)), (8, account(2, 9))], "account_order"),
    "an earlier time": (
        placed(account(1, 5, time_ms=account(3, 5).time_ms), account(2, 9)),
        "account_order",
    ),
    "the same day again": (
        placed(account(1, 5), account(2, 9, day=account(1, 5).day)),
        "account_order",
    ),
    "an earlier day after an end": (
        placed(account(2, 5), account(3, 5, 0, END), account(4, 5, day=account(1, 5).day)),
        "account_order",
    ),
    "less than before": (placed(account(1, 5), account(2, 4)), "account_falls"),
    "fewer events than before": (placed(account(1, 5), account(2, 4, confirmed=Count(4, 50))), "account_falls"),
    "fewer samples than before": (placed(account(1, 5), account(2, 6, confirmed=Count(6, 49))), "account_falls"),
    "confirmed becomes unknown": (placed(account(1, 5), account(2, 4, 1)), "account_falls"),
    "unknown that is gone": (placed(account(1, 5, 1), account(2, 5)), "account_falls"),
    "an event after the end": (placed(account(1, 5, 0, END), account(2, 6)), "account_after_end"),
    "an event after the end, two days later": (
        placed(account(1, 5, 0, END), account(2, 5), account(3, 6)),
        "account_after_end",
    ),
    "a sample more after the end": (
        placed(account(1, 5, 0, END), account(2, 5, confirmed=Count(5, 51))),
        "account_after_end",
    ),
    "a second end": (placed(account(1, 5, 0, END), account(2, 5, 0, END)), "account_after_end"),
}


@pytest.mark.parametrize("name", MORE)
def test_accounts_together(name: str) -> None:
    judged, expected = MORE[name]
    assert outcome(judged) == expected


def test_every_single_change_of_a_number_in_a_story_after_its_end_is_caught() -> None:
    """Whatever is counted more or less in the last account: only moves from unknown to confirmed are the same sum."""
    *rest, (place, last) = GOOD
    for events, unknown in itertools.product(range(10, 14), range(4)):
        changed = replace(last, confirmed=Count(events, 10 * events), unknown=Count(unknown, 10 * unknown))
        assert (outcome([*rest, (place, changed)]) == "accepted") == (events + unknown == 12)
