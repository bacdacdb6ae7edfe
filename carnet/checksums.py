"""Checksums inside CAN frames, computed for a whole block at once: the simulator writes them, the agent judges by them.

Law: every algorithm puts its result into the last byte of the frame and covers the identifier, so a frame that is
replayed under another identifier does not pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL: Final = 0x1D
"""x^8 + x^4 + x^3 + x^2 + 1, SAE J1850."""


def _crc_table() -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    for value in range(256):
        crc = value
        for _ in range(8):
            crc = (crc << 1) ^ (_POLYNOMIAL if crc & 0x80 else 0)
        table[value] = crc & 0xFF
    return table


_TABLE: Final = _crc_table()


def crc8(can_id: NDArray[np.uint32], payload: NDArray[np.uint8], length: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """CRC-8 SAE J1850 (start 0xFF, result inverted) over the identifier and all payload bytes but the last.

    The identifier counts as four bytes, most significant first. ``payload`` is (n, width); a frame of ``length`` L is
    covered up to byte L - 2, its checksum stands in byte L - 1. Returns (n,).
    """
    crc: NDArray[np.uint8] = np.full(len(can_id), 0xFF, np.uint8)
    for shift in (24, 16, 8, 0):
        crc = _TABLE[crc ^ ((can_id >> np.uint32(shift)) & np.uint32(0xFF)).astype(np.uint8)]
    for position in range(int(length.max(initial=0)) - 1):
        covered = position < length.astype(np.int16) - 1
        crc = np.where(covered, _TABLE[crc ^ payload[:, position]], crc)
    inverted: NDArray[np.uint8] = crc ^ np.uint8(0xFF)
    return inverted


def toyota(can_id: NDArray[np.uint32], payload: NDArray[np.uint8], length: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The sum that Toyota uses: both identifier bytes, the length and all payload bytes but the last, modulo 256."""
    columns = np.arange(payload.shape[1])
    covered = columns[np.newaxis, :] < length.astype(np.int64)[:, np.newaxis] - 1
    total: NDArray[np.int64] = np.where(covered, payload, 0).sum(axis=1, dtype=np.int64)
    identifier = can_id.astype(np.int64)
    total = total + (identifier >> 8) + identifier + length
    return (total & 0xFF).astype(np.uint8)


Checksum = Callable[[NDArray[np.uint32], NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.uint8]]

ALGORITHMS: Final[dict[str, Checksum]] = {"crc8": crc8, "toyota": toyota}
"""Name in a mapping file -> what the last byte of each frame must hold."""
