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
from carnet_cloud.store.ledger import StoredLog

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
        placed = [leaf for leaf in leaves[:RECEIPTS_MAX] if log is not None and leaf.position is not None]
        receipts = []
        for leaf in placed:
            assert log is not None and leaf.position is not None  # noqa: PT018 - one thing, said above
            document = parse_leaf(canonical.parse(leaf.document, BODY_BYTES_MAX))
            path = inclusion_path(leaf.position, log.size, partial(t.ledger.node, log.tenant))
            receipt = Receipt(document, leaf.salt, leaf.position, path, log.checkpoint)
            receipts.append({"step": leaf.step, "receipt": receipt.encode().decode()})
        return {
            "origin": log.origin if log else "",
            "receipts": receipts,
            "more": len(leaves) > RECEIPTS_MAX,
            "waiting": any(leaf.position is None for leaf in leaves),
        }

    def head(self, t: Transaction, origin: str, first: int, second: int | None) -> dict[str, object]:
        """The newest checkpoint of a log, its key, and the proof that its first ``second`` leaves (all of them) begin
        with its first ``first``. LedgerError ``log_unknown`` or ``proof_sizes``.
        """
        log = next((log for log in t.ledger.logs() if log.origin == origin), None)
        if log is None:
            raise LedgerError("log_unknown", "there is no log of this name here")
        proof = growth_of(t, log, first, log.size if second is None else second)
        key = NoteKey(log.origin, self.public).text()
        return {"origin": log.origin, "key": key, "checkpoint": log.checkpoint, "proof": base64url(b"".join(proof))}


def growth_of(t: Transaction, log: StoredLog, first: int, second: int) -> tuple[bytes, ...]:
    """The proof that the log's first ``second`` leaves begin with its first ``first``. LedgerError ``proof_sizes``."""
    if not 0 <= first <= second <= log.size:
        raise LedgerError("proof_sizes", "the log was never so large, or is to begin with a larger one")
    return consistency_path(first, second, partial(t.ledger.node, log.tenant))
