"""Accounts for the log: what a record's recipient got, when a day is over and when the consent ends.

Law 6: an account is made in the transaction that ends the consent, when what is in flight is already told as unknown;
so the sum is final. Of an end there is one account, and of a day one if something became of an event on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from carnet.ledger.account import Account, day_of
from carnet.ledger.leaf import SALT_BYTES
from carnet.states import State
from carnet_cloud.ledger.leaves import queue_leaf
from carnet_cloud.store import Transaction
from carnet_cloud.store.consents import StoredRecord
from carnet_cloud.store.tallies import Tally


def end_account(
    t: Transaction, stored: StoredRecord, state: State, random: Callable[[int], bytes], now_ms: int
) -> None:
    """The account of a consent that ends now, unless its end has one. What waits is destroyed already."""
    if stored.ended:
        return
    t.consents.set_ended(stored.id)
    _make(t, stored.tenant, replace(t.tallies.get(stored.id, stored.recipient), day=""), state, random, now_ms)


def end_expired(t: Transaction, random: Callable[[int], bytes], now_ms: int, limit: int) -> int:
    """Destroy what is left of records that have expired, and account for them: no event says when they do; how many.

    At most ``limit`` are looked at.
    """
    expired = t.consents.to_end(now_ms, limit)
    t.others.change_records({*t.outbox.ending(now_ms, limit), *expired})
    t.outbox.end_expired(now_ms, limit)
    # once more, now that nobody else changes them
    ended = [stored for stored in map(t.consents.record, expired) if stored and stored.expires_ms <= now_ms]
    for stored in ended:
        t.outbox.destroy(stored.id, now_ms)
        end_account(t, stored, State.EXPIRED, random, now_ms)
    return len(ended)


def day_accounts(t: Transaction, random: Callable[[int], bytes], now_ms: int, limit: int) -> int:
    """The accounts of days that are over, of at most so many records; how many."""
    today = day_of(now_ms)
    records = {tally.record for tally in t.tallies.days_over(today, limit)}
    t.others.change_records(records)
    # once more, now that nobody else changes them
    over = [tally for tally in t.tallies.days_over(today, limit) if tally.record in records]
    for tally in over:
        stored = t.consents.record(tally.record)
        if stored is None:
            t.tallies.accounted(tally, now_ms)
        else:
            _make(t, stored.tenant, tally, None, random, now_ms)
    return len(over)


def _make(
    t: Transaction, tenant: str, tally: Tally, ended: State | None, random: Callable[[int], bytes], now_ms: int
) -> None:
    """Queue the next account of a record. Its time does not fall, whatever the clock does."""
    time_ms = max(now_ms, tally.account_ms)
    account = Account(
        tally.record, tally.recipient, tally.accounts + 1, tally.confirmed, tally.unknown, tally.last_event.hex(),
        time_ms, tally.day, ended,
    )  # fmt: skip
    t.tallies.accounted(tally, time_ms)
    queue_leaf(t, tenant, tally.record, account, random(SALT_BYTES), now_ms)
