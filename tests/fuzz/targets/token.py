"""Whatever the text, jws.verify raises an error of ours or returns what the key has signed, and only that.

The first byte chooses: an even one the token as it comes, an odd one a document that is signed here.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from carnet import canonical, jws
from carnet.consent import parse_owner
from carnet.errors import RemoteError
from tests.consentkit import OWNER_KEY
from tests.fuzz.material import canonicalised, refused, vectors

TOKENS = vectors("consent/tokens")
KEYS = (*parse_owner(TOKENS["owner"].encode()).keys, OWNER_KEY.public)


def seeds() -> Iterable[bytes]:
    for vector in TOKENS["vectors"]:
        token = vector["record"].encode(errors="surrogatepass")
        yield b"\0" + token
        if not refused(partial(jws.unverified, vector["record"])):
            yield b"\1" + canonical.encode(jws.unverified(vector["record"]))


def check(data: bytes) -> None:
    token = data[1:].decode(errors="replace")
    if data[:1] and data[0] & 1:
        token = _signed(data[1:]) or token
    refused(lambda: jws.unverified(token))
    try:
        document = jws.verify(token, jws.RECORD, KEYS)
    except RemoteError:
        return
    # one document has one token: nothing in it may be varied
    assert token == jws.sign(jws.RECORD, document, OWNER_KEY.secret)
    assert document == jws.unverified(token)


def _signed(payload: bytes) -> str:
    try:
        return jws.sign(jws.RECORD, canonical.parse(canonicalised(payload), jws.TOKEN_CHARACTERS_MAX), OWNER_KEY.secret)
    except RemoteError:
        return ""
