"""Checkpoints (C2SP tlog-checkpoint): the log's signed word on how large it is and what is in it.

Law: a checkpoint counts only for the log that it names, and only by a key that signs in that log's name. It has exactly
three lines; there is nothing in it that a follower of the log could not check.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from carnet.errors import FormatError, LedgerError, LocalProtocolError
from carnet.keys import SigningKey
from carnet.ledger.leaf import origin_text
from carnet.ledger.merkle import TreeHead
from carnet.ledger.signednote import NoteKey, decode64, encode64, open_note, sign_note, split_note

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_REASON: Final = "checkpoint_malformed"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of the log with this name."""

    origin: str
    head: TreeHead

    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.head.size}\n{encode64(self.head.root)}\n"

    def signed_by(self, key: SigningKey) -> str:
        """The checkpoint as it is published: a note, signed in the log's own name."""
        return sign_note(self.text(), self.origin, key)


def verify_checkpoint(note: str, keys: Iterable[NoteKey]) -> Checkpoint:
    """The checkpoint in a note that one of these keys signed in the log's name.

    FormatError ``note_format``, ``checkpoint_malformed``; LedgerError ``checkpoint_origin`` (another log than any key
    is of); SignatureError ``note_unsigned``, ``note_signature``.
    """
    checkpoint = unverified_checkpoint(note)
    own = [key for key in keys if key.name == checkpoint.origin]
    if not own:
        raise LedgerError("checkpoint_origin", f"the checkpoint is of the log {checkpoint.origin}, the key is not")
    open_note(note, own)
    return checkpoint


def unverified_checkpoint(note: str) -> Checkpoint:
    """What a note claims, with nobody's word for it: to say whose key is needed. Errors as above."""
    text, _ = split_note(note)
    lines = text.split("\n")
    if len(lines) != 4 or _SIZE.fullmatch(lines[1]) is None:
        raise FormatError(_REASON, "a checkpoint is three lines: the log's name, its size, its root")
    root = decode64(lines[2], _REASON)
    try:
        return Checkpoint(origin_text(lines[0]), TreeHead(int(lines[1]), root))
    except (FormatError, LocalProtocolError) as error:
        raise FormatError(_REASON, f"in a checkpoint: {error}") from None
