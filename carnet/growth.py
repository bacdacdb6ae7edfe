"""Growth: the cloud's newest checkpoint with the proof that the log begins with what a device has seen of it.

Law: it is judged beside what the device keeps; nothing in it says what that was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from carnet import canonical, fields
from carnet.errors import FormatError
from carnet.ledger.checkpoint import unverified_checkpoint
from carnet.ledger.merkle import HASH_BYTES, TreeHead
from carnet.limits import BODY_BYTES_MAX

HASHES_MAX: Final = 106
"""A consistency proof of a log with fewer than 2^53 leaves has no more."""
_HASHES: Final = re.compile(rf"(?:[0-9a-f]{{{2 * HASH_BYTES}}}){{1,{HASHES_MAX}}}", re.ASCII)
_NOTE: Final = re.compile(r".+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Growth:
    """Body of a down message of type 6. ``first``: the size of the log that the proof begins with; ``checkpoint``: a
    signed note.
    """

    first: int
    path: tuple[bytes, ...]
    checkpoint: str

    @property
    def head(self) -> TreeHead:
        """Size and root that the checkpoint names; whose word that is, the message's signature says."""
        return unverified_checkpoint(self.checkpoint).head

    def encode(self) -> bytes:
        """The body."""
        return canonical.encode(
            {"checkpoint": self.checkpoint, "first": self.first, "proof": b"".join(self.path).hex()}
        )

    @staticmethod
    def parse(body: bytes) -> Growth:
        """The growth in ``body``; FormatError."""
        document = canonical.parse(body, BODY_BYTES_MAX)
        checkpoint, first, proof = fields.members(document, "checkpoint", "first", "proof")
        hashes = bytes.fromhex(fields.text(proof, _HASHES))
        path = tuple(hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES))
        growth = Growth(fields.number(first, 1), path, fields.text(checkpoint, _NOTE))
        try:
            head = growth.head
        except FormatError as error:
            raise FormatError("body_malformed", f"in a growth: {error}") from None
        if growth.first >= head.size:
            raise FormatError("body_malformed", "a log grows from a smaller one")
        return growth
