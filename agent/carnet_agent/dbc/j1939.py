"""SAE J1939 identifiers: a message is known by its parameter group number, whoever sends it.

29 bits: priority 3, data pages 2, PDU format 8, PDU specific 8, source address 8. Below PDU format 240 the PDU specific
byte is the destination and no part of the parameter group number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PDU2_FORMAT = 240
PDU1_MASK = 0x03FF0000
PDU2_MASK = 0x03FFFF00


def pgn_mask(can_id: int) -> int:
    """The bits of this identifier that name its parameter group."""
    return PDU1_MASK if (can_id >> 16) & 0xFF < PDU2_FORMAT else PDU2_MASK


def pgn(can_id: int) -> int:
    """Parameter group number of a 29-bit identifier."""
    return (can_id & pgn_mask(can_id)) >> 8


def pgns(can_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Parameter group number of each 29-bit identifier."""
    pdu1 = (can_ids >> 16) & 0xFF < PDU2_FORMAT
    return np.where(pdu1, can_ids & PDU1_MASK, can_ids & PDU2_MASK) >> 8


def sources(can_ids: NDArray[np.int64]) -> NDArray[np.int16]:
    """Source address of each 29-bit identifier."""
    return (can_ids & 0xFF).astype(np.int16)
