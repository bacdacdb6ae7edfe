"""How an envelope begins: magic, suite and the type that says what it is about."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

MAGIC: Final = b"CNT1"
SUITE: Final = 1
"""X25519-XSalsa20-Poly1305 sealed box, Ed25519, BLAKE2b."""


class EnvelopeType(IntEnum):
    """Byte 5 of an envelope. KEY_CHANGE is reserved and refused."""

    DATA = 1
    GAP = 2
    CHECK_IN_OR_HEALTH = 3
    KEY_CHANGE = 4
    SCHEMA = 5
    DESTRUCTION_RECEIPT = 6
