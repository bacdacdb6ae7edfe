"""Leaves on their way into the log: written down in the transaction of what they tell.

Law 6: a leaf that no reader would take is never queued; then nothing of its transaction happens.
"""

from __future__ import annotations

from carnet import canonical
from carnet.ledger.leaf import Leaf, salted_hash
from carnet_cloud.store import Transaction


def queue_leaf(t: Transaction, tenant: str, of: str, leaf: Leaf, salt: bytes, now_ms: int) -> None:
    """Queue a leaf ``of`` a record or, the first of all, of the tenant itself. LocalProtocolError if malformed."""
    salted_hash(leaf, salt)
    t.ledger.queue(tenant, of, salt, canonical.encode(leaf.document()), now_ms)
