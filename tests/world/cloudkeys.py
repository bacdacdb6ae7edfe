"""The cloud's keys before, during and after a change of both of them.

Law: a key is told under the one before it, which stays until every unit has the next: then nothing is left behind.
"""

from __future__ import annotations

from carnet.keys import BoxKey, SigningKey
from carnet.keyset import KeySet, PublicKey
from carnet_cloud.core import CloudKeys
from tests.cloud.kit import SEAL, SIGN

NEXT_SEAL = BoxKey.from_seed(b"S" * 32)
NEXT_SIGN = SigningKey.from_seed(b"G" * 32)
SEALS = {key.kid: key for key in (SEAL, NEXT_SEAL)}


def _ascending(*keys: PublicKey) -> tuple[PublicKey, ...]:
    return tuple(sorted(keys, key=lambda key: key.kid))


CHANGING = CloudKeys(
    SEALS,
    SIGN,
    KeySet(
        2,
        _ascending(PublicKey.of(SEAL.public, current=False), PublicKey.of(NEXT_SEAL.public)),
        _ascending(PublicKey.of(SIGN.public), PublicKey.of(NEXT_SIGN.public, current=False)),
    ),
)
"""Boxes are sealed to the next key; what signs is still the first."""
CHANGED = CloudKeys(SEALS, NEXT_SIGN, KeySet(3, (PublicKey.of(NEXT_SEAL.public),), (PublicKey.of(NEXT_SIGN.public),)))
"""The first signature counts no more; what was sealed to the first key is still opened."""
