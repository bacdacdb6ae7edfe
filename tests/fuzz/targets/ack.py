"""Whatever the bytes, parse_ack raises FormatError or returns an acknowledgement that is encoded as the same bytes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from carnet.ack import Ack, parse_ack
from carnet.errors import FormatError
from carnet.ledger.follow import head_of, judge
from carnet.ledger.merkle import EMPTY
from tests.fuzz.material import vectors


def seeds() -> Iterable[bytes]:
    messages = [bytes.fromhex(v["bytes"]) for v in vectors("down")["vectors"] if v["bytes"].startswith("01")]
    yield from (message[26:-64] for message in messages)
    yield Ack(b"streamaa", 9, b"h" * 32, 5, b"n" * 16, ((1, 2), (4, 4), (7, 9)), 8, b"r" * 32).encode()


def check(data: bytes) -> None:
    try:
        ack = parse_ack(data)
    except FormatError:
        return
    assert ack.encode() == data
    assert all(one[1] + 1 < other[0] for one, other in pairwise(ack.ranges))
    assert not any(ack.covers(seq) for seq in (-1, 2**53))
    judge(EMPTY, head_of(ack))
