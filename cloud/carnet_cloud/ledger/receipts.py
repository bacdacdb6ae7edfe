"""Receipts of a record's leaves, and proofs that a log has only grown: for owners, and for everybody who follows.

Law: a receipt is made of what the log has signed; a leaf without a place has none yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from carnet import canonical
from carnet.errors import LedgerError
from carnet.jws import base64url
from carnet.ledger.leaf import parse_leaf
from carnet.ledger.proof import consistency_path, inclusion_path
from carnet.ledger.receipt import Receipt
from carnet.ledger.signednote import NoteKey
from carnet.limits import BODY_BYTES_MAX
from carnet_cloud.store import Transaction
from carnet_cloud.store.consents import StoredRecord
from carnet_cloud.store.ledger import StoredLeaf, StoredLog

RECEIPTS_MAX = 128
"""In one answer: up to 256 kB."""


@dataclass(frozen=True, slots=True)
class Receipts:
    """``public``: the key that signs the logs."""

    public: bytes

    def of(self, t: Transaction, stored: StoredRecord, after: int) -> dict[str, object]:
        """Receipts of the record's leaves behind the step ``after``, against the newest checkpoint; whether there are
        more, and whether a leaf still waits for its place.
        """
        log = t.ledger.log(stored.tenant)
        leaves = t.ledger.leaves(stored.id, after, RECEIPTS_MAX + 1)
        made = [(leaf.step, _receipt(t, log, leaf)) for leaf in leaves[:RECEIPTS_MAX] if log]
        return {
            "origin": log.origin if log else "",
            "receipts": [{"step": step, "receipt": receipt} for step, receipt in made if receipt],
            "more": len(leaves) > RECEIPTS_MAX,
            "waiting": any(leaf.position is None for leaf in leaves),
        }

    def head(self, t: Transaction, origin: str, first: int, second: int | None) -> dict[str, object]:
        """The newest checkpoint of a log, its key, and the proof that its first ``second`` leaves (all of them) begin
        with its first ``first``. LedgerError ``log_unknown`` or ``proof_sizes``.
        """
        log = _named(t, origin)
        proof = growth_of(t, log, first, log.size if second is None else second)
        key = NoteKey(log.origin, self.public).text()
        return {"origin": log.origin, "key": key, "checkpoint": log.checkpoint, "proof": base64url(b"".join(proof))}

    def first(self, t: Transaction, origin: str) -> dict[str, object]:
        """The receipt of a log's first leaf, which says when the log began. LedgerError ``log_unknown``, or
        ``leaf_unknown`` if a restored store has forgotten it.
        """
        log = _named(t, origin)
        found = [_receipt(t, log, leaf) for leaf in t.ledger.leaves(log.tenant, -1, 1) if leaf.position == 0]
        if not found:
            raise LedgerError("leaf_unknown", "the first leaf of this log is not here any more")
        return {"receipt": found[0]}


def _named(t: Transaction, origin: str) -> StoredLog:
    log = next((log for log in t.ledger.logs() if log.origin == origin), None)
    if log is None:
        raise LedgerError("log_unknown", "there is no log of this name here")
    return log


def _receipt(t: Transaction, log: StoredLog, leaf: StoredLeaf) -> str:
    """Of a leaf, against the newest checkpoint; empty while the leaf waits for its place."""
    if leaf.position is None:
        return ""
    document = parse_leaf(canonical.parse(leaf.document, BODY_BYTES_MAX))
    path = inclusion_path(leaf.position, log.size, partial(t.ledger.node, log.tenant))
    return Receipt(document, leaf.salt, leaf.position, path, log.checkpoint).encode().decode()


def growth_of(t: Transaction, log: StoredLog, first: int, second: int) -> tuple[bytes, ...]:
    """The proof that the log's first ``second`` leaves begin with its first ``first``. LedgerError ``proof_sizes``."""
    if not 0 <= first <= second <= log.size:
        raise LedgerError("proof_sizes", "the log was never so large, or is to begin with a larger one")
    return consistency_path(first, second, partial(t.ledger.node, log.tenant))
