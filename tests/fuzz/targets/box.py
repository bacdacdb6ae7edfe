"""Whatever stands behind its binding, an opened box is refused or is what seals to the same bytes again.

The input is the type of the envelope, then the plaintext behind the binding: a fuzzer does not find a seal. With the
highest bit of the type the plaintext stands there with its padding.
"""

from __future__ import annotations

from collections.abc import Iterable

from carnet.box import Place, open_box, seal_box
from carnet.envelope import parse_envelope
from carnet.envelopetype import EnvelopeType
from carnet.errors import Error, RemoteError
from carnet.keys import BoxKey
from carnet.padding import pad, unpad
from carnet.sealedbox import open_sealed, seal
from tests.fuzz.material import vectors

ENVELOPES = vectors("envelope")
KEY = BoxKey.from_seed(bytes.fromhex(ENVELOPES["seeds"]["cloud_seal"]))
SEED = bytes(32)
PADDED = 0x80
TYPES = tuple(EnvelopeType)


def seeds() -> Iterable[bytes]:
    for vector in ENVELOPES["vectors"]:
        try:
            envelope = parse_envelope(bytes.fromhex(vector["bytes"]))
            boxes = [part.box for part in envelope.parts if part.box]
            kind = bytes([TYPES.index(envelope.header.type)])
            yield from (kind + unpad(open_sealed(box, KEY))[32:] for box in boxes)
            yield from (bytes([kind[0] | PADDED]) + open_sealed(box, KEY)[32:] for box in boxes)
        except Error:
            continue


def check(data: bytes) -> None:
    place = Place(
        TYPES[(data[0] & ~PADDED) % len(TYPES)] if data else TYPES[0],
        0,
        bytes(16),
        bytes(8),
        bytes(8),
        bytes(8),
        KEY.kid,
    )
    plain = place.binding() + data[1:]
    box = seal(plain if data and data[0] & PADDED else pad(plain), KEY.public, SEED)
    try:
        prelude, body = open_box(box, KEY, place)
    except RemoteError:
        return
    assert seal_box(prelude, body, KEY.public, place, SEED) == box
