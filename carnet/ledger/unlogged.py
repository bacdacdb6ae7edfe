"""Entries without a leaf: whether they were made before the log began, which alone excuses it.

Law: only what the owner has signed says when he gave something; the cloud's word is that the log began then and not
later. In doubt a leaf is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from carnet.errors import LedgerError, RemoteError
from carnet.ledger.leaf import LogLeaf
from carnet.ledger.receipt import Receipt
from carnet.recordevents import entry_hash, parse_event
from carnet.records import parse_record

MISSING = "the log lacks an entry, or the account of an end, and says that nothing waits"


def missing(why: str = MISSING) -> LedgerError:
    """What is said of a leaf that should be there."""
    return LedgerError("leaf_missing", why)


def require_before(record: str, entries: Sequence[str], first: Receipt, now_ms: int, keys: Iterable[bytes]) -> None:
    """The entries of a record, from its token on, are all from before the log began; LedgerError ``leaf_missing``.

    ``first``: the verified receipt of the log's first leaf; ``keys``: whose signatures the reader knows.
    """
    if not isinstance(first.leaf, LogLeaf) or first.leaf.time_ms > now_ms:
        raise missing("the cloud does not show when its log began, so that an entry without a leaf has no excuse")
    try:
        newest_ms = _newest_ms(record, entries, tuple(keys))
    except RemoteError as error:
        raise missing(f"an entry without a leaf cannot be dated by this key: {error}") from error
    if newest_ms >= first.leaf.time_ms:
        raise missing()


def _newest_ms(record: str, entries: Sequence[str], keys: Sequence[bytes]) -> int:
    """The latest time that stands in these entries, which hang together."""
    token, *rest = entries
    given = parse_record(token, keys)
    events = [parse_event(entry, keys) for entry in rest]
    hang = [event.prev == entry_hash(before) for event, before in zip(events, entries, strict=False)]
    if {given.id, *(event.record for event in events)} != {record} or not all(hang):
        raise LedgerError("entry_other", "it is of another record, or does not follow the one before")
    return max([given.given_ms, *(event.time_ms for event in events)])
