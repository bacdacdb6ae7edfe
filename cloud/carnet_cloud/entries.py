"""Entries of records as they are written: each counted, and with its leaf for the log, queued in the same transaction.

Law 6: no entry without a leaf. Law 3: an entry that narrows is in force at once, one that widens when the log has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from carnet.grants import Grant
from carnet.ledger.account import ENDED
from carnet.ledger.leaf import SALT_BYTES, ConsentLeaf
from carnet.states import WIDENING, EventKind
from carnet_cloud.ledger.accounts import end_account
from carnet_cloud.ledger.leaves import queue_leaf
from carnet_cloud.store import Transaction
from carnet_cloud.store.consents import StoredRecord


class Entries:
    """``random``: for the salts, which nobody else may know."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random

    def begin(self, t: Transaction, stored: StoredRecord, grant: Grant, now_ms: int) -> None:
        """A record is given; nothing of it is in force yet."""
        t.consents.add_record(replace(stored, in_force=0, until_ms=0, log_position=0), now_ms)
        self._log(t, stored, grant, EventKind.GIVE, now_ms)

    def add(self, t: Transaction, stored: StoredRecord, grant: Grant, kind: EventKind, entry: str, now_ms: int) -> None:
        """One more entry of this kind, after which the record comes to ``grant``."""
        t.consents.add_event(stored.id, grant.event_seq, entry, now_ms)
        t.consents.set_record(stored.id, grant.state.value, grant.expires_ms)
        if kind not in WIDENING:
            # what narrows hangs on all entries before it, so these are in force with it: together they allow nothing
            t.consents.set_in_force(stored.id, grant.event_seq + 1, grant.expires_ms)
            t.consents.raise_generation(stored.vehicle, stored.epoch)
        self._log(t, stored, grant, kind, now_ms)
        if grant.state in ENDED:
            end_account(t, stored, grant.state, self._random, now_ms)

    def _log(self, t: Transaction, stored: StoredRecord, grant: Grant, kind: EventKind, now_ms: int) -> None:
        # what widens is in a grant set once it has its place: in the next one, or if others come between a later one
        generation = t.consents.generation(stored.vehicle, stored.epoch) + (kind in WIDENING)
        leaf = ConsentLeaf(
            stored.id, stored.recipient, grant.event_seq, kind, grant.head_hash, grant.state, generation, now_ms
        )
        t.counters.add(f"consent_{kind.value}")
        queue_leaf(t, stored.tenant, stored.id, leaf, self._random(SALT_BYTES), now_ms)
