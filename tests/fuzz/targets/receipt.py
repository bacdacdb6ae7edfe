"""Whatever the bytes, a receipt is refused or encoded as the same bytes, and proves nothing that the log has not."""

from __future__ import annotations

from collections.abc import Iterable

from carnet.errors import RemoteError
from carnet.ledger.leaf import Leaf
from carnet.ledger.merkle import HASH_BYTES
from carnet.ledger.receipt import parse_receipt
from carnet.ledger.signednote import parse_note_key
from tests.fuzz.material import canonicalised, vectors

RECEIPTS = vectors("ledger/receipts")
KEYS = tuple(map(parse_note_key, RECEIPTS["keys"]))


def seeds() -> Iterable[bytes]:
    return [vector["receipt"].encode(errors="surrogatepass") for vector in RECEIPTS["vectors"]]


def leaves() -> dict[str, set[str]]:
    """Every leaf that a good vector proves, by its checkpoint's text; nobody has the key for any other."""
    found: dict[str, set[str]] = {}
    for vector in RECEIPTS["vectors"]:
        if vector["outcome"] == "accepted":
            receipt = parse_receipt(vector["receipt"].encode())
            found.setdefault(receipt.claimed().text(), set()).add(_shown(receipt.index, receipt.salt, receipt.leaf))
    return found


def _shown(index: int, salt: bytes, leaf: Leaf) -> str:
    return f"{index} {salt.hex()} {leaf.document()}"


PROVEN = leaves()


def check(data: bytes) -> None:
    document = canonicalised(data)
    try:
        receipt = parse_receipt(document)
    except RemoteError:
        return
    assert receipt.encode() == document
    assert all(len(each) == HASH_BYTES for each in receipt.path)
    try:
        checkpoint = receipt.verify(KEYS)
    except RemoteError:
        return
    assert _shown(receipt.index, receipt.salt, receipt.leaf) in PROVEN[checkpoint.text()]
