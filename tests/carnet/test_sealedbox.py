"""Sealed boxes: libsodium's own, with the randomness handed in."""

from __future__ import annotations

import nacl.public
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carnet.errors import LocalProtocolError, OpenError
from carnet.keys import BoxKey
from carnet.sealedbox import OVERHEAD, open_disclosed, open_sealed, seal, shared_key

KEY, OTHER = BoxKey.from_seed(b"\x01" * 32), BoxKey.from_seed(b"\x02" * 32)
ORACLE = nacl.public.PrivateKey.from_seed(b"\x01" * 32)


@given(st.binary(max_size=600), st.binary(min_size=32, max_size=32))
def test_libsodium_opens_what_we_seal_and_we_open_what_it_seals(plain: bytes, seed: bytes) -> None:
    """Nobody can tell our box from one of libsodium's."""
    box = seal(plain, KEY.public, seed)
    assert len(box) == len(plain) + OVERHEAD
    assert nacl.public.SealedBox(ORACLE).decrypt(box) == plain
    assert open_sealed(nacl.public.SealedBox(ORACLE.public_key).encrypt(plain), KEY) == plain


def test_the_same_seed_makes_the_same_box() -> None:
    """A simulation repeats; another seed hides that the content is the same."""
    assert seal(b"x", KEY.public, bytes(32)) == seal(b"x", KEY.public, bytes(32))
    assert seal(b"x", KEY.public, bytes(32)) != seal(b"x", KEY.public, b"\x01" * 32)


@pytest.mark.parametrize("box", [b"", bytes(47), bytes(48), bytes(100), seal(b"x", OTHER.public, bytes(32))])
def test_what_does_not_open_is_refused_with_one_reason(box: bytes) -> None:
    """Too short, an ephemeral key of small order, sealed to somebody else: libsodium's three exceptions become one."""
    with pytest.raises(OpenError) as refusal:
        open_sealed(box, KEY)
    assert refusal.value.reason == "box_does_not_open"


@pytest.mark.parametrize(("public", "seed"), [(bytes(32), bytes(32)), (b"short", bytes(32)), (KEY.public, b"short")])
def test_nothing_is_sealed_to_a_key_that_cannot_be_used(public: bytes, seed: bytes) -> None:
    """The caller's fault, not the other side's."""
    with pytest.raises(LocalProtocolError) as fault:
        seal(b"x", public, seed)
    assert fault.value.reason == "seal_arguments"


def test_the_disclosed_key_opens_its_box_and_no_other() -> None:
    """Evidence for a stranger without the recipient's secret."""
    box, other = seal(b"reading", KEY.public, bytes(32)), seal(b"another", KEY.public, b"\x01" * 32)
    key = shared_key(box, KEY)
    assert open_disclosed(box, KEY.public, key) == b"reading"
    for wrong in (
        (other, KEY.public, key),
        (box, OTHER.public, key),
        (box, KEY.public, bytes(32)),
        (b"", KEY.public, key),
    ):
        with pytest.raises(OpenError) as refusal:
            open_disclosed(*wrong)
        assert refusal.value.reason == "box_does_not_open"
    with pytest.raises(OpenError) as refusal:
        shared_key(b"short", KEY)
    assert refusal.value.reason == "box_does_not_open"
