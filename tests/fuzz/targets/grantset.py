"""Whatever the bytes, a grant set is refused or encoded as the same bytes, and compiles without lowering a floor."""

from __future__ import annotations

from collections.abc import Iterable

from carnet.consent import Floors, compile_set, encode_grant_set, parse_grant_set, parse_owner
from carnet.errors import RemoteError
from tests.fuzz.material import canonicalised, vectors

SIZE_MAX = 16_384
RUNS = 1000
SETS = vectors("consent/grantsets")
OWNER = parse_owner(SETS["owner"].encode())
FLOORS = compile_set(parse_grant_set(SETS["before"].encode()), OWNER, Floors()).floors


def seeds() -> Iterable[bytes]:
    return [SETS["before"].encode(), *(vector["set"].encode(errors="surrogatepass") for vector in SETS["vectors"])]


def check(data: bytes) -> None:
    document = canonicalised(data)
    try:
        grant_set = parse_grant_set(document)
    except RemoteError:
        return
    assert encode_grant_set(grant_set) == document
    for before in (Floors(), FLOORS):
        try:
            compiled = compile_set(grant_set, OWNER, before)
        except RemoteError:
            continue
        after = compiled.floors
        assert after.generation >= before.generation
        assert set(before.ended) <= set(after.ended)
        assert set(before.heads) <= set(after.heads) | set(after.ended)
        assert not {record for record, _ in grant_set.ended} & set(after.heads)
        assert not {grant.record_id for grant in compiled.grants} & set(before.ended)
