"""The enrolment: what a unit tells the cloud when it is paired, in a file that somebody carries over.

Law: the unit's own key signs it, so that a file cannot be changed on the way; the keys of the owner are in it because
the cloud has to accept the same signatures as the car.
"""

from __future__ import annotations

from dataclasses import dataclass

from carnet import canonical, fields, jws, signatures
from carnet.errors import FormatError
from carnet.ids import DEVICE_BYTES, device_bytes, device_text
from carnet.keys import PUBLIC_BYTES, SigningKey, check_box_public
from carnet.ownerkeys import EPOCH_MAX, PINNED_MAX, parse_key
from carnet.refusals import integer

ENROLMENT_BYTES_MAX = 16_384


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A unit in a vehicle: ids of 16 bytes, public keys of 32. ``owner_keys`` are Ed25519 keys pinned on the unit."""

    device: bytes
    vehicle: bytes
    epoch: int
    sign_key: bytes
    receive_key: bytes
    owner_keys: tuple[bytes, ...]

    def signed(self, key: SigningKey) -> bytes:
        """The file: canonical JSON with the signature of the unit's own key."""
        document = self._document()
        signature = key.sign(signatures.ENROLMENT, canonical.encode(document))
        return canonical.encode({"enrolment": document, "signature": signature.hex()})

    def _document(self) -> dict[str, object]:
        return {
            "device": device_text(self.device),
            "epoch": self.epoch,
            "owner_keys": [jws.jwk(key) for key in self.owner_keys],
            "receive_key": self.receive_key.hex(),
            "sign_key": self.sign_key.hex(),
            "type": "enrolment",
            "v": 1,
            "vehicle": device_text(self.vehicle),
        }


def parse_enrolment(data: bytes) -> Enrolment:
    """The enrolment in a file; FormatError, SignatureError ``signature_wrong`` or ConsentError for an owner's key."""
    document, signature = fields.members(canonical.parse(data, ENROLMENT_BYTES_MAX), "enrolment", "signature")
    names = ("device", "epoch", "owner_keys", "receive_key", "sign_key", "type", "v", "vehicle")
    device, epoch, owner_keys, receive_key, sign_key, kind, version, vehicle = fields.members(document, *names)
    integer(version, 1, 1)
    fields.choice(kind, "enrolment")
    enrolment = Enrolment(
        device=_name(device),
        vehicle=_name(vehicle),
        epoch=integer(epoch, 1, EPOCH_MAX),
        sign_key=fields.hex_bytes(sign_key, PUBLIC_BYTES),
        receive_key=fields.hex_bytes(receive_key, PUBLIC_BYTES),
        owner_keys=tuple(parse_key(key) for key in fields.items(owner_keys, 1, PINNED_MAX)),
    )
    check_box_public(enrolment.receive_key)
    signed = fields.hex_bytes(signature, signatures.SIGNATURE_BYTES)
    signatures.verify(signatures.ENROLMENT, canonical.encode(document), signed, enrolment.sign_key)
    return enrolment


def _name(value: object) -> bytes:
    name = device_bytes(value if isinstance(value, str) else "")
    if len(name) != DEVICE_BYTES or not any(name):
        raise FormatError("id_malformed", "an id in an enrolment is empty")
    return name
