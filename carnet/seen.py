"""What an owner's tool was shown, as it tells the cloud in every request: the highest generation of a vehicle's grants,
and how large the log was.

Law: it is the owner's word and signed as such; nobody else can say it, and said again it can only be true again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from carnet import fields, jws
from carnet.errors import ConsentError
from carnet.grantsets import GENERATION_MAX
from carnet.ledger.leaf import origin_text
from carnet.limits import NUMBER_MAX
from carnet.ownerkeys import EPOCH_MAX, OwnerKeys
from carnet.refusals import integer, refused_as, vehicle_text

HEADER: Final = "Carnet-Seen"


@dataclass(frozen=True, slots=True)
class Seen:
    """``generation`` was shown to an owner of the ``vehicle`` (26 characters) in this ``epoch``, and a log of the name
    ``origin`` with ``log_size`` leaves; empty and 0 before it was shown one.
    """

    vehicle: str
    epoch: int
    generation: int
    origin: str = ""
    log_size: int = 0


def sign_seen(seen: Seen, secret: bytes) -> str:
    """The token for the header; ``secret`` is libsodium's 64 bytes of one of the owner's keys."""
    document = {
        "v": 1, "type": "seen", "vehicle": seen.vehicle, "epoch": seen.epoch, "generation": seen.generation,
        "origin": seen.origin, "log_size": seen.log_size,
    }  # fmt: skip
    return jws.sign(jws.SEEN, document, secret)


def claimed_seen(token: str) -> Seen:
    """What a token claims, with nobody's word for it: only to find the keys that `check_seen` needs.

    `carnet.jws`'s reasons or ConsentError ``seen_malformed``.
    """
    return _read(jws.unverified(token))


def check_seen(token: str, owner: OwnerKeys) -> Seen:
    """What an owner of this vehicle and epoch has seen; `carnet.jws.verify`'s reasons, ConsentError
    ``seen_malformed``, or ``seen_foreign`` for another vehicle or epoch.
    """
    seen = _read(jws.verify(token, jws.SEEN, owner.keys))
    if (seen.vehicle, seen.epoch) != (owner.vehicle, owner.epoch):
        raise ConsentError("seen_foreign", "what was seen is of another vehicle or epoch")
    return seen


def _read(document: object) -> Seen:
    names = ("v", "type", "vehicle", "epoch", "generation", "origin", "log_size")
    with refused_as("seen_malformed"):
        version, kind, vehicle, epoch, generation, origin, size = fields.members(document, *names)
        integer(version, 1, 1)
        fields.choice(kind, "seen")
        return Seen(
            vehicle_text(vehicle),
            integer(epoch, 1, EPOCH_MAX),
            integer(generation, 0, GENERATION_MAX),
            origin if origin == "" else origin_text(origin),
            integer(size, 1 if origin else 0, NUMBER_MAX if origin else 0),
        )
