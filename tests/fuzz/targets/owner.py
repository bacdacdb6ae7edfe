"""Whatever the bytes, owner.json is refused or encoded as the same bytes."""

from __future__ import annotations

from collections.abc import Iterable

from carnet.consent import parse_owner
from carnet.errors import RemoteError
from carnet.ownerkeys import encode_owner, sign_addition
from tests.consentkit import GIVEN_MS, OTHER_KEY, OWNER, OWNER_KEY
from tests.fuzz.material import canonicalised, vectors


def seeds() -> Iterable[bytes]:
    yield vectors("consent/records")["owner"].encode()
    yield encode_owner(OWNER.with_tokens((sign_addition(OWNER, OTHER_KEY.public, GIVEN_MS, OWNER_KEY.secret),)))


def check(data: bytes) -> None:
    document = canonicalised(data)
    try:
        owner = parse_owner(document)
    except RemoteError:
        return
    assert encode_owner(owner) == document
    assert len(set(owner.keys)) == len(owner.keys)
