"""Receipts: one leaf of the log with all that is needed to check, offline and for ever, that it is in there.

Law: a receipt shows what it says only by a key of the log that its reader had from elsewhere; nothing in it chooses
that key.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from carnet import canonical, fields
from carnet.errors import FormatError, LedgerError
from carnet.jws import base64url, base64url_bytes
from carnet.ledger.checkpoint import Checkpoint, unverified_checkpoint, verify_checkpoint
from carnet.ledger.leaf import SALT_BYTES, Leaf, LogLeaf, parse_leaf, salted_hash
from carnet.ledger.merkle import HASH_BYTES
from carnet.ledger.proof import verify_inclusion
from carnet.ledger.signednote import NOTE_BYTES_MAX, NoteKey
from carnet.refusals import integer, named_members

RECEIPT_BYTES_MAX: Final = 2 * NOTE_BYTES_MAX
"""Ours have less than 2 kB; a checkpoint with the lines of sixteen witnesses may be long."""
PATH_MAX: Final = 53
"""A log has fewer than 2^53 leaves."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The leaf and its salt, its index in the log, the proof, and the checkpoint that the proof leads to."""

    leaf: Leaf
    salt: bytes
    index: int
    path: tuple[bytes, ...]
    checkpoint: str

    def encode(self) -> bytes:
        """The receipt as its owner keeps it: canonical JSON."""
        return canonical.encode(
            {
                "v": 1,
                "type": "receipt",
                "leaf": self.leaf.document(),
                "salt": base64url(self.salt),
                "index": self.index,
                "proof": base64url(b"".join(self.path)),
                "checkpoint": self.checkpoint,
            }
        )

    def claimed(self) -> Checkpoint:
        """The checkpoint, with nobody's word for it: to say whose key is needed. Errors of `unverified_checkpoint`."""
        return unverified_checkpoint(self.checkpoint)

    def verify(self, keys: Iterable[NoteKey]) -> Checkpoint:
        """The checkpoint, if one of these keys signed it and the leaf is in its log at ``index``.

        The errors of `verify_checkpoint` and `verify_inclusion`; LedgerError ``receipt_first`` for a leaf at index 0
        that does not begin this log, or one elsewhere that would.
        """
        checkpoint = verify_checkpoint(self.checkpoint, keys)
        verify_inclusion(salted_hash(self.leaf, self.salt), self.index, checkpoint.head, self.path)
        origin = self.leaf.origin if isinstance(self.leaf, LogLeaf) else None
        if origin != (checkpoint.origin if self.index == 0 else None):
            raise LedgerError("receipt_first", "the first leaf of a log, and no other, says whose log it is")
        return checkpoint


def parse_receipt(data: bytes) -> Receipt:
    """The receipt in ``data``, not verified yet. FormatError of canonical JSON, ``receipt_malformed`` or
    ``leaf_malformed``.
    """
    document = canonical.parse(data, RECEIPT_BYTES_MAX)
    try:
        named = named_members(document, "v", "type", "leaf", "salt", "index", "proof", "checkpoint")
        integer(named["v"], 1, 1)
        fields.choice(named["type"], "receipt")
        salt, path = _salt(named["salt"]), _path(named["proof"])
        index, checkpoint = fields.number(named["index"]), _text(named["checkpoint"])
    except FormatError as error:
        raise FormatError("receipt_malformed", f"in a receipt: {error}") from None
    return Receipt(parse_leaf(named["leaf"]), salt, index, path, checkpoint)


def _salt(value: object) -> bytes:
    salt = base64url_bytes(_text(value))
    if len(salt) != SALT_BYTES:
        raise FormatError("receipt_malformed", f"a salt has {SALT_BYTES} bytes")
    return salt


def _path(value: object) -> tuple[bytes, ...]:
    """The hashes one after the other; in a log of one leaf there are none."""
    text = _text(value)
    proof = base64url_bytes(text) if text else b""
    if len(proof) % HASH_BYTES or len(proof) > PATH_MAX * HASH_BYTES:
        raise FormatError("receipt_malformed", f"a proof is up to {PATH_MAX} hashes of {HASH_BYTES} bytes")
    return tuple(proof[at : at + HASH_BYTES] for at in range(0, len(proof), HASH_BYTES))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise FormatError("receipt_malformed", "salt, proof and checkpoint are texts")
    return value
