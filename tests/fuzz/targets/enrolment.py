"""Whatever the bytes, parse_enrolment raises an error of ours or returns what the unit's key has signed.

What is no whole enrolment is signed here first: the input may be the inner document alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from carnet import canonical, signatures
from carnet.enrolment import Enrolment, parse_enrolment
from carnet.errors import RemoteError
from carnet.keys import BoxKey, SigningKey
from tests.consentkit import OTHER_KEY, OWNER_KEY
from tests.fuzz.material import canonicalised

UNIT = SigningKey.from_seed(b"d" * 32)
GOOD = Enrolment(
    bytes(range(16)), bytes(range(16, 32)), 3, UNIT.public, BoxKey.from_seed(b"r" * 32).public,
    (OWNER_KEY.public, OTHER_KEY.public),
)  # fmt: skip


def seeds() -> Iterable[bytes]:
    whole = GOOD.signed(UNIT)
    yield whole
    document = canonical.parse(whole, 16_384)
    assert isinstance(document, dict)
    yield canonical.encode(document["enrolment"])


def check(data: bytes) -> None:
    data = canonicalised(data)
    try:
        inner = canonical.parse(data, 16_384)
        if isinstance(inner, dict) and "enrolment" not in inner:
            data = canonical.encode({"enrolment": inner, "signature": UNIT.sign(signatures.ENROLMENT, data).hex()})
        enrolment = parse_enrolment(data)
    except RemoteError:
        return
    assert enrolment.sign_key == UNIT.public
    assert enrolment.signed(UNIT) == data
