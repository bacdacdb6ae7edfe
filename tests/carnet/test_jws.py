"""Tokens: stock JOSE libraries read ours, and ours reads nothing that was not written in the one form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws as oracle
from joserfc.jwk import OKPKey

from carnet import jws
from carnet.errors import FormatError, LocalProtocolError, RemoteError
from tests.consentkit import OTHER_KEY, OWNER_KEY

DOCUMENT = {"v": 1, "type": "example", "text": "Süd", "list": [1, 2, None, True]}
TOKEN = jws.sign(jws.RECORD, DOCUMENT, OWNER_KEY.secret)
KEYS = (OTHER_KEY.public, OWNER_KEY.public)


def test_what_is_signed_comes_back() -> None:
    """With any of the keys, and only as what it was signed for."""
    assert jws.verify(TOKEN, jws.RECORD, KEYS) == DOCUMENT


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # RFC 9864 would call it Ed25519; few libraries do
def test_a_stock_library_verifies_our_token_and_makes_the_same() -> None:
    """Oracle: joserfc. The thumbprint, the header and the signature are those of the standards."""
    key = OKPKey.import_key({**jws.jwk(OWNER_KEY.public)})
    assert key.thumbprint() == jws.thumbprint(OWNER_KEY.public)
    read = oracle.deserialize_compact(TOKEN, key, algorithms=["EdDSA"])
    assert json.loads(read.payload) == DOCUMENT
    private = OKPKey.import_key({**jws.jwk(OWNER_KEY.public), "d": jws.base64url(OWNER_KEY.secret[:32])})
    header = {"alg": "EdDSA", "kid": jws.thumbprint(OWNER_KEY.public), "typ": jws.RECORD}
    assert oracle.serialize_compact(header, read.payload, private, algorithms=["EdDSA"]) == TOKEN


def test_the_example_key_of_rfc_8037_has_its_thumbprint() -> None:
    """Appendix A.3 of the RFC."""
    public = jws.base64url_bytes("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    assert jws.thumbprint(public) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.integers(0, len(TOKEN) - 1), st.sampled_from("ABab01-_.= \n\u00e9"))
def test_a_token_with_another_character_anywhere_is_refused(position: int, character: str) -> None:
    """No spelling of a token is equal to another."""
    changed = TOKEN[:position] + character + TOKEN[position + 1 :]
    if changed != TOKEN:
        with pytest.raises(RemoteError):
            jws.verify(changed, jws.RECORD, KEYS)


@pytest.mark.parametrize("length", range(0, len(TOKEN), 7))
def test_a_truncated_token_is_refused(length: int) -> None:
    """At every length."""
    with pytest.raises(RemoteError):
        jws.verify(TOKEN[:length], jws.RECORD, KEYS)


@given(st.binary(min_size=1, max_size=40))
def test_base64url_has_one_text(data: bytes) -> None:
    """The text comes back as its bytes, and a padded one does not."""
    text = jws.base64url(data)
    assert jws.base64url_bytes(text) == data
    with pytest.raises(FormatError):
        jws.base64url_bytes(text + "=")


def test_a_type_that_does_not_exist_is_our_own_fault() -> None:
    """Nobody signs for a purpose without a name."""
    with pytest.raises(LocalProtocolError):
        jws.sign("JWT", DOCUMENT, OWNER_KEY.secret)
