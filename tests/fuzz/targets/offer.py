"""Whatever the bytes, parse_offer raises an error of ours or returns an offer that the owner can be asked about."""

from __future__ import annotations

from collections.abc import Iterable

from carnet.consent import parse_offer
from carnet.errors import RemoteError
from carnet.offers import conditions_of, offer_hash
from tests.fuzz.material import canonicalised, vectors


def seeds() -> Iterable[bytes]:
    return [vector["offer"].encode(errors="surrogatepass") for vector in vectors("consent/offers")["vectors"]]


def check(data: bytes) -> None:
    document = canonicalised(data)
    try:
        offer = parse_offer(document)
    except RemoteError:
        return
    assert offer.hash == offer_hash(document)
    assert all((item.path is None) != (item.category is None) for item in offer.items)
    assert any(item.is_sent for item in offer.items)
    conditions_of(offer.items)
