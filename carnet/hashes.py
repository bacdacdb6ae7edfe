"""Every hash of Carnet: BLAKE2b with a ``person`` of its own per purpose. Where a standard has another one, that one
holds: RFC 6962 in `carnet.ledger`, RFC 7638 in `carnet.jws`.

Law: no two purposes share a person, so a hash made for one place never fits another.
``docs/wire-format.md`` has the table.
"""

from __future__ import annotations

import hashlib
from typing import Final

KEY_ID: Final = b"carnet keyid"
BINDING: Final = b"carnet binding"
DOWN: Final = b"carnet down"
BOX: Final = b"carnet box"
MANIFEST: Final = b"carnet manifest"
SCHEMA: Final = b"carnet schema"
EVENT: Final = b"carnet event"
OFFER: Final = b"carnet offer"
CONSENT: Final = b"carnet consent"
GRANTS: Final = b"carnet grants"
SEALED: Final = b"carnet sealed"

PERSONS: Final = {
    KEY_ID: 8, BINDING: 32, DOWN: 32, BOX: 32, MANIFEST: 32, SCHEMA: 16, EVENT: 16, OFFER: 32, CONSENT: 32,
    GRANTS: 32, SEALED: 32,
}  # fmt: skip
"""Person -> size of the hash in bytes."""


def digest(person: bytes, data: bytes) -> bytes:
    """BLAKE2b of ``data`` with one of this module's persons and that person's size."""
    return hashlib.blake2b(data, digest_size=PERSONS[person], person=person).digest()
