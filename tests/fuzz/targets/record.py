"""Whatever the owner or the operator has signed, compile_grant raises an error of ours or returns a grant within it.

The input is one JSON document per line: an offer, the document of a record, and events; they are signed here. A line
that is no JSON stands as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from carnet import canonical, jws
from carnet.consent import parse_offer, parse_owner
from carnet.errors import RemoteError
from carnet.grants import compile_grant
from tests.consentkit import OWNER, OWNER_KEY
from tests.fuzz.material import canonicalised, refused, vectors

SIZE_MAX = 8192
RUNS = 500
RECORDS = vectors("consent/records")


def seeds() -> Iterable[bytes]:
    assert parse_owner(RECORDS["owner"].encode()) == OWNER
    for vector in RECORDS["vectors"]:
        lines = [vector["offer"], _document(vector["record"]), *map(_document, vector["events"])]
        yield "\n".join(lines).encode(errors="surrogatepass")


def check(data: bytes) -> None:
    offer, record, *events = (*data.split(b"\n"), b"")[: 1 + max(2, data.count(b"\n") + 1)]
    offer = canonicalised(offer)
    try:
        grant = compile_grant(
            offer, _signed(record, jws.RECORD), [_signed(event, jws.EVENT) for event in events if event], OWNER
        )
    except RemoteError:
        return
    asked = parse_offer(offer)
    assert grant.recipient == asked.recipient
    assert grant.event_seq == len([event for event in events if event])
    assert grant.expires_ms - grant.covers_from_ms <= (asked.valid_days + 366 * grant.event_seq) * 86_400_000


def _document(token: str) -> str:
    """What a token says; one that says nothing stands as it is."""
    if token.startswith("{") or refused(lambda: jws.unverified(token)):
        return token
    return canonical.encode(jws.unverified(token)).decode()


def _signed(line: bytes, typ: str) -> str:
    """The owner's token of a document; the operator writes his events without one."""
    line = canonicalised(line)
    text = line.decode(errors="replace")
    try:
        document = canonical.parse(line, jws.TOKEN_CHARACTERS_MAX)
    except RemoteError:
        return text
    if isinstance(document, dict) and "by" in document:
        return text
    return jws.sign(typ, document, OWNER_KEY.secret)
