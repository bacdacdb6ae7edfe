"""Who a unit is and whose car it sits in; a sale gives it another identity.

Law: it is made of names and seeds alone, so the owner, the car and the cloud know the same one.
"""

from __future__ import annotations

from dataclasses import dataclass

from carnet.consent import OwnerKeys
from carnet.enrolment import Enrolment
from carnet.keys import BoxKey, SigningKey
from tests import consentkit as kit
from tests.cloud.kit import DEVICE, VEHICLE


@dataclass(frozen=True)
class Identity:
    """One pairing."""

    device: bytes
    sign: SigningKey
    receive: BoxKey
    epoch: int
    owner_key: SigningKey

    @property
    def owner(self) -> OwnerKeys:
        """What is pinned on the unit."""
        return OwnerKeys(kit.VEHICLE, self.epoch, (self.owner_key.public,))

    @property
    def enrolment(self) -> bytes:
        """The file that somebody carries to the cloud."""
        keys = (self.owner_key.public,)
        return Enrolment(self.device, VEHICLE, self.epoch, self.sign.public, self.receive.public, keys).signed(
            self.sign
        )


FIRST = Identity(DEVICE, SigningKey.from_seed(b"d" * 32), BoxKey.from_seed(b"r" * 32), 1, kit.OWNER_KEY)
NEW_OWNER_KEY = SigningKey.from_seed(b"n" * 32)
BUYER = Identity(bytes(range(50, 66)), SigningKey.from_seed(b"e" * 32), BoxKey.from_seed(b"q" * 32), 2, NEW_OWNER_KEY)
"""Of who buys the car."""
