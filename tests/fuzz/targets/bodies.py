"""Whatever is in a box that is no batch, its parser raises FormatError or gives what is encoded as the same bytes.

The first byte chooses the parser, the rest is the body.
"""

from __future__ import annotations

from collections.abc import Iterable

from carnet.bodies import CheckIn, DestructionReceipt, Gap, GapRange, Health, SchemaBody
from carnet.compression import compress
from carnet.errors import FormatError
from carnet.note import DestructionReason
from tests.fuzz.material import canonicalised

KINDS = (Gap, CheckIn, Health, DestructionReceipt, SchemaBody)
RECORD = "rec_aaaaaaaaaaaaaaaa"


def seeds() -> Iterable[bytes]:
    bodies = (
        Gap(b"streamaa", (GapRange(1, 3, "evicted", 7), GapRange(9, 9, "corrupt", 0))),
        CheckIn(b"n" * 16, 5, b"h" * 32, 1, (b"a" * 16, b"b" * 16), "guest", b"previous"),
        Health({"bus.dropped": 3, "rows": 2**53 - 1}),
        DestructionReceipt((RECORD,), 4, DestructionReason.ERASED, 1, 2, 3),
        SchemaBody(b"{}" * 50),
    )
    return [bytes([KINDS.index(type(body))]) + body.encode() for body in bodies]


def check(data: bytes) -> None:
    kind = KINDS[data[0] % len(KINDS)] if data else Gap
    if kind is SchemaBody:
        _inflates(data[1:])
        return
    body = canonicalised(data[1:])
    try:
        parsed = kind.parse(body)
    except FormatError:
        return
    assert parsed.encode() == body


def _inflates(body: bytes) -> None:
    """A frame has more than one form; what is inflated is compressed to one with the same content."""
    try:
        content = SchemaBody.parse(body).schema
    except FormatError:
        return
    assert SchemaBody.parse(compress(content)).schema == content
