"""The tree of the log, hashed as in RFC 6962: a leaf with 0x00 before it, a node with 0x01, SHA-256.

Law: a node is stored when both its halves are complete and never changes again; every tree head and every proof of any
size is made of stored nodes, with O(log n) reads. Which table they lie in is the caller's business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from carnet.errors import LocalProtocolError
from carnet.limits import NUMBER_MAX

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""The root of a log without leaves."""

HashOf = Callable[[int, int], bytes]
"""The stored hash of the complete subtree ``(level, index)``: of the leaves from ``index << level``, ``1 << level`` of
them. Level 0 are the leaf hashes.
"""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf with this content."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash over two halves, each 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class TreeHead:
    """How many leaves a log had, and the hash over all of them."""

    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.size <= NUMBER_MAX or len(self.root) != HASH_BYTES:
            raise LocalProtocolError("tree_head", "a tree head is a size below 2^53 and a root of 32 bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise LocalProtocolError("tree_head", "an empty log has one root and no other")


EMPTY: Final = TreeHead(0, EMPTY_ROOT)


@dataclass(frozen=True, slots=True)
class Node:
    """A complete subtree, as it is stored."""

    level: int
    index: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Frontier:
    """What of a log is needed to add to it: the roots of its complete subtrees, the largest first.

    There are as many as ``size`` has binary ones.
    """

    size: int = 0
    roots: tuple[bytes, ...] = ()

    def append(self, leaf: bytes) -> tuple[Frontier, tuple[Node, ...]]:
        """The frontier after one more leaf hash, and the nodes that are complete now and to be stored: the leaf first.

        On average two.
        """
        roots, node = list(self.roots), Node(0, self.size, leaf)
        made = [node]
        while node.index & 1:
            node = Node(node.level + 1, node.index >> 1, node_hash(roots.pop(), node.hash))
            made.append(node)
        return Frontier(self.size + 1, (*roots, node.hash)), tuple(made)

    def head(self) -> TreeHead:
        """Size and root of the log."""
        if not self.roots:
            return EMPTY
        root = self.roots[-1]
        for left in reversed(self.roots[:-1]):
            root = node_hash(left, root)
        return TreeHead(self.size, root)


def stored_frontier(size: int, hash_of: HashOf) -> Frontier:
    """The frontier of the first ``size`` leaves of a stored log: what a sequencer begins with after a start."""
    roots, begin = [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            roots.append(hash_of(level, begin >> level))
            begin += 1 << level
    return Frontier(size, tuple(roots))


def stored_head(size: int, hash_of: HashOf) -> TreeHead:
    """The tree head that a stored log had when it had ``size`` leaves."""
    return stored_frontier(size, hash_of).head()


def split(count: int) -> int:
    """Where RFC 6962 cuts ``count`` leaves, 2 or more: the largest power of two below it."""
    return 1 << ((count - 1).bit_length() - 1)


def range_hash(begin: int, end: int, hash_of: HashOf) -> bytes:
    """The hash over the leaves from ``begin`` to before ``end``, a range that RFC 6962 makes by splitting."""
    count = end - begin
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return hash_of(level, begin >> level)
    middle = begin + split(count)
    return node_hash(range_hash(begin, middle, hash_of), range_hash(middle, end, hash_of))
