"""Whatever the text, a checkpoint is refused or is one of those that the log's key has signed.

The text may be any note; keys, as people pass them on, are read from its lines.
"""

from __future__ import annotations

from collections.abc import Iterable

from carnet.errors import FormatError, RemoteError
from carnet.ledger.checkpoint import verify_checkpoint
from carnet.ledger.signednote import parse_note_key
from tests.fuzz.material import vectors

CHECKPOINTS = vectors("ledger/checkpoints")
KEYS = tuple(map(parse_note_key, CHECKPOINTS["keys"]))
SIGNED = {
    verify_checkpoint(vector["note"], KEYS).text()
    for vector in CHECKPOINTS["vectors"]
    if vector["outcome"] == "accepted"
}


def seeds() -> Iterable[bytes]:
    yield from (vector["note"].encode(errors="surrogatepass") for vector in CHECKPOINTS["vectors"])
    yield from (key.encode() for key in CHECKPOINTS["keys"])


def check(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    for line in text.split("\n")[:4]:
        try:
            key = parse_note_key(line)
        except FormatError:
            continue
        assert key.text() == line
    try:
        checkpoint = verify_checkpoint(text, KEYS)
    except RemoteError:
        return
    assert checkpoint.text() in SIGNED
    assert text.startswith(checkpoint.text() + "\n")
