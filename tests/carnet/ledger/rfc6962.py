"""RFC 6962, section 2.1, word for word: slow, recursive, over the list of all leaves. Shares nothing with `carnet`."""

from __future__ import annotations

from hashlib import sha256

Leaves = tuple[bytes, ...]
"""What is hashed with 0x00 before it."""


class Tree:
    """MTH, PATH and PROOF of the leaves of one log; what was hashed once is kept, or all pairs would take minutes."""

    def __init__(self, leaves: Leaves) -> None:
        self._d = leaves
        self._kept: dict[tuple[int, int], bytes] = {}

    def mth(self, start: int, end: int) -> bytes:
        """MTH(D[start:end])"""
        if (start, end) not in self._kept:
            self._kept[start, end] = self._mth(start, end)
        return self._kept[start, end]

    def _mth(self, start: int, end: int) -> bytes:
        n = end - start
        if n == 0:
            return sha256(b"").digest()
        if n == 1:
            return sha256(b"\x00" + self._d[start]).digest()
        k = _k(n)
        return sha256(b"\x01" + self.mth(start, start + k) + self.mth(start + k, end)).digest()

    def path(self, m: int, start: int, end: int) -> list[bytes]:
        """PATH(m, D[start:end])"""
        n = end - start
        if n == 1:
            return []
        k = _k(n)
        if m < k:
            return [*self.path(m, start, start + k), self.mth(start + k, end)]
        return [*self.path(m - k, start + k, end), self.mth(start, start + k)]

    def proof(self, m: int, n: int) -> list[bytes]:
        """PROOF(m, D[0:n])"""
        return self._subproof(m, 0, n, True)

    def _subproof(self, m: int, start: int, end: int, b: bool) -> list[bytes]:
        n = end - start
        if m == n:
            return [] if b else [self.mth(start, end)]
        k = _k(n)
        if m <= k:
            return [*self._subproof(m, start, start + k, b), self.mth(start + k, end)]
        return [*self._subproof(m - k, start + k, end, False), self.mth(start, start + k)]


def _k(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k
