"""Proofs about the log (RFC 9162, section 2.1): that a leaf is in it, and that a larger log begins with a smaller one.

Law: a proof is accepted in exactly one form. One hash too many or too few, or of another length, is refused like a
wrong one.
"""

from __future__ import annotations

from collections.abc import Sequence

from carnet.errors import LedgerError, LocalProtocolError
from carnet.ledger.merkle import HASH_BYTES, HashOf, TreeHead, node_hash, range_hash, split

Path = Sequence[bytes]
"""The hashes of a proof, from the leaves to the root."""


def inclusion_path(index: int, size: int, hash_of: HashOf) -> tuple[bytes, ...]:
    """The proof that the log's first ``size`` leaves hold the one at ``index``."""
    if not 0 <= index < size:
        raise LocalProtocolError("proof_index", "there is no leaf with this index in a log of this size")
    path, begin, end = [], 0, size
    while end - begin > 1:
        middle = begin + split(end - begin)
        if index < middle:
            path.append(range_hash(middle, end, hash_of))
            end = middle
        else:
            path.append(range_hash(begin, middle, hash_of))
            begin = middle
    return tuple(reversed(path))


def consistency_path(first: int, second: int, hash_of: HashOf) -> tuple[bytes, ...]:
    """The proof that the log's first ``second`` leaves begin with its first ``first`` ones."""
    if not 0 <= first <= second:
        raise LocalProtocolError("proof_sizes", "a log begins with a smaller one, not with a larger one")
    if first in {0, second}:
        return ()
    path, begin, end = [], 0, second
    while first != end:
        middle = begin + split(end - begin)
        if first <= middle:
            path.append(range_hash(middle, end, hash_of))
            end = middle
        else:
            path.append(range_hash(begin, middle, hash_of))
            begin = middle
    if begin:
        # what lies before is in the path already; without anything before, the verifier has the hash: it is his root
        path.append(range_hash(begin, end, hash_of))
    return tuple(reversed(path))


def verify_inclusion(leaf: bytes, index: int, head: TreeHead, path: Path) -> None:
    """Return if the log with this head holds the leaf hash ``leaf`` at ``index``.

    LedgerError ``proof_index``, ``proof_malformed``, ``proof_length`` or ``proof_root``.
    """
    if not 0 <= index < head.size:
        raise LedgerError("proof_index", "the leaf's index is not below the size of the log")
    _check_hashes((leaf, *path))
    place, last, found = index, head.size - 1, leaf
    for sibling in path:
        if last == 0:
            raise _wrong_length()
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            place, last = _rise(place, last)
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise _wrong_length()
    if found != head.root:
        raise LedgerError("proof_root", "the leaf is not in the log at this place: the proof leads to another root")


def verify_consistency(first: TreeHead, second: TreeHead, path: Path) -> None:
    """Return if the log with the head ``second`` begins with the log that had the head ``first``.

    LedgerError ``proof_sizes``, ``proof_malformed``, ``proof_length`` or ``proof_root``.
    """
    if first.size > second.size:
        raise LedgerError("proof_sizes", "a log begins with a smaller one, not with a larger one")
    _check_hashes(path)
    if first.size in {0, second.size}:
        if path:
            raise _wrong_length()
        if first.size and first.root != second.root:
            raise LedgerError("proof_root", "two logs of one size have different roots")
        return
    place, last = _rise_odd(first.size - 1, second.size - 1)
    seeds = path if place else (first.root, *path)
    if not path:
        raise _wrong_length()
    old = new = seeds[0]
    for sibling in seeds[1:]:
        if last == 0:
            raise _wrong_length()
        if place & 1 or place == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            place, last = _rise(place, last)
        else:
            new = node_hash(new, sibling)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise _wrong_length()
    if (old, new) != (first.root, second.root):
        raise LedgerError("proof_root", "the larger log does not begin with the smaller one")


def _rise(place: int, last: int) -> tuple[int, int]:
    """Up to the level on which the node has a sibling on its left; as in the RFC, not beyond the left edge."""
    while place and not place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def _rise_odd(place: int, last: int) -> tuple[int, int]:
    """Up to the largest complete subtree that ends here."""
    while place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def _check_hashes(hashes: Path) -> None:
    if any(len(each) != HASH_BYTES for each in hashes):
        raise LedgerError("proof_malformed", "a hash of a proof does not have 32 bytes")


def _wrong_length() -> LedgerError:
    return LedgerError("proof_length", "a proof has more or fewer hashes than one of these sizes has")
