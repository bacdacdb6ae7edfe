"""Down messages: signed by the cloud, addressed to one device, sealed where they tell something."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carnet.ack import Ack, parse_ack
from carnet.down import (
    DownMessage,
    GrantSetMessage,
    Refusal,
    SchemaRequest,
    SealedMessage,
    open_down,
    seal_down,
    sign_ack,
)
from carnet.errors import FormatError, LocalProtocolError, RemoteError
from carnet.growth import Growth
from carnet.keys import BoxKey, SigningKey
from carnet.keyset import KeySet, PublicKey
from tests.carnet.ledger.kit import story

DEVICE = b"d" * 16
CLOUD, SEAL = SigningKey.from_seed(b"\x01" * 32), BoxKey.from_seed(b"\x02" * 32)
RECEIVE, OTHER = BoxKey.from_seed(b"\x03" * 32), BoxKey.from_seed(b"\x04" * 32)
KEYS = KeySet(1, (PublicKey.of(SEAL.public),), (PublicKey.of(CLOUD.public),))
GROWTH = Growth(3, story().consistency(3, 8), story().checkpoint())
MESSAGES: list[SealedMessage] = [
    Refusal(b"s" * 8, 3, b"m" * 32, "body_malformed"),
    GrantSetMessage(b'{"records":[]}' * 100),
    KEYS,
    SchemaRequest((b"a" * 16, b"b" * 16)),
    GROWTH,
]


def _open(data: bytes) -> DownMessage:
    return open_down(data, DEVICE, KEYS.signing_keys, RECEIVE)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda each: type(each).__name__)
def test_a_sealed_message_comes_back_and_tells_the_broker_nothing(message: SealedMessage) -> None:
    """Only type, device and key id are readable; lengths are padded."""
    data = seal_down(message, DEVICE, CLOUD, RECEIVE.public, bytes(32))
    assert _open(data) == message
    assert message.encode()[:20] not in data
    with pytest.raises(RemoteError):
        open_down(data, DEVICE, KEYS.signing_keys, OTHER)


@given(
    st.integers(0, 2**53 - 1),
    st.sets(st.integers(1, 1000), max_size=64).map(lambda found: sorted(n * 2 for n in found)),
)
def test_an_acknowledgement_comes_back(watermark: int, numbers: list[int]) -> None:
    """With up to 64 ranges, and it covers exactly what they name."""
    head = b"h" * 32 if watermark else bytes(32)
    ack = Ack(b"s" * 8, watermark, head, 5, b"n" * 16, tuple((n, n) for n in numbers))
    opened = _open(sign_ack(ack, DEVICE, CLOUD))
    assert opened == ack
    assert {n for n in range(2002) if ack.covers(n)} == set(numbers)


def test_an_acknowledgement_answers_the_nonce_that_was_sent_and_no_other() -> None:
    """Zeros answer nothing."""
    ack = Ack(b"s" * 8, 0, bytes(32), 5, b"n" * 16)
    assert ack.answers(b"n" * 16) and not ack.answers(b"m" * 16)
    assert not Ack(b"s" * 8, 0, bytes(32), 5).answers(bytes(16))


@pytest.mark.parametrize(
    "ack",
    [
        Ack(b"s", 0, bytes(32), 5),
        Ack(b"s" * 8, -1, bytes(32), 5),
        Ack(b"s" * 8, 0, b"h" * 32, 5),
        Ack(b"s" * 8, 0, bytes(32), 0),
        Ack(b"s" * 8, 0, bytes(32), 2**53),
        Ack(b"s" * 8, 0, bytes(32), 5, ranges=((2, 1),)),
        Ack(b"s" * 8, 0, bytes(32), 5, ranges=((1, 2), (3, 4))),
        Ack(b"s" * 8, 0, bytes(32), 5, ranges=tuple((n, n) for n in range(1, 131, 2))),
        Ack(b"s" * 8, 0, bytes(32), 5, log_size=1),
    ],
    ids=str,
)
def test_an_acknowledgement_that_would_be_refused_is_never_encoded(ack: Ack) -> None:
    """The caller's fault."""
    with pytest.raises(LocalProtocolError):
        ack.encode()


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_as_an_acknowledgement_with_a_reason(data: bytes) -> None:
    """Never with another exception."""
    with pytest.raises(FormatError):
        parse_ack(data)


def test_what_a_device_would_refuse_is_never_sent() -> None:
    """A reason that is no word, a request for nothing, a wrong address, a grant set beyond its limit."""
    wrong: list[SealedMessage] = [
        Refusal(b"s" * 8, 3, b"m" * 32, "No!"),
        SchemaRequest(()),
        replace(GROWTH, first=8),
        replace(GROWTH, path=()),
        replace(GROWTH, checkpoint="8"),
        GrantSetMessage(bytes(1_048_577)),
    ]
    for message in wrong:
        with pytest.raises(LocalProtocolError):
            seal_down(message, DEVICE, CLOUD, RECEIVE.public, bytes(32))
    with pytest.raises(LocalProtocolError):
        seal_down(KEYS, b"short", CLOUD, RECEIVE.public, bytes(32))
    with pytest.raises(LocalProtocolError):
        seal_down(KEYS, DEVICE, CLOUD, bytes(32), bytes(32))


def test_a_key_set_names_one_current_key_and_only_rises() -> None:
    """A retiring signing key is still accepted, an equal or lower version replaces nothing."""
    seals = sorted((PublicKey.of(SEAL.public), PublicKey.of(OTHER.public, current=False)), key=lambda key: key.kid)
    signs = (PublicKey.of(CLOUD.public),)
    key_set = KeySet(2, tuple(seals), signs)
    assert KeySet.parse(key_set.encode()) == key_set
    assert key_set.sealing_key.public == SEAL.public
    assert key_set.signing_keys == {CLOUD.kid: CLOUD.public}
    assert key_set.replaces(1) and not key_set.replaces(2) and not key_set.replaces(3)
    for wrong in (KeySet(0, key_set.seal, signs), KeySet(1, (), signs), KeySet(1, tuple(seals[::-1]), signs)):
        with pytest.raises(LocalProtocolError):
            wrong.encode()
