"""A box: what goes in comes out in its own place, and what a receiver would refuse is never sealed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carnet.box import Place, Prelude, is_box_size, open_box, open_evidence, seal_box
from carnet.envelopetype import EnvelopeType
from carnet.errors import LocalProtocolError, OpenError
from carnet.keys import BoxKey
from carnet.sealedbox import shared_key
from carnet.signals import DeliveryClass

KEY, OTHER = BoxKey.from_seed(b"\x01" * 32), BoxKey.from_seed(b"\x02" * 32)
PLACE = Place(EnvelopeType.DATA, 0, b"d" * 16, b"s" * 8, b"c" * 8, b"k" * 8, KEY.kid)
PRELUDE = Prelude(1, 2, b"b" * 8, 3, schema_hash=b"h" * 16, records=(b"r" * 10,))
U32, NUMBER = st.integers(0, 2**32 - 1), st.integers(0, 2**53 - 1)
RECORDS = st.sets(st.binary(min_size=10, max_size=10), min_size=1, max_size=64).map(lambda found: tuple(sorted(found)))


@given(st.builds(
    Prelude, U32, U32, st.binary(min_size=8, max_size=8), NUMBER, st.integers(1, 2**53 - 1), st.integers(0, 2**32 - 2),
    NUMBER, st.binary(min_size=16, max_size=16).filter(any), st.sampled_from(DeliveryClass), RECORDS,
), st.binary(max_size=400))  # fmt: skip
def test_prelude_and_body_come_back(prelude: Prelude, body: bytes) -> None:
    """All fields over their whole range; the size is one that an envelope accepts."""
    box = seal_box(prelude, body, KEY.public, PLACE, bytes(32))
    assert open_box(box, KEY, PLACE) == (prelude, body)
    assert is_box_size(len(box))


def test_a_box_belongs_to_up_to_64_records() -> None:
    records = tuple(b"%010d" % number for number in range(65))
    most = replace(PRELUDE, records=records[:64])
    assert open_box(seal_box(most, b"body", KEY.public, PLACE, bytes(32)), KEY, PLACE) == (most, b"body")
    with pytest.raises(LocalProtocolError) as fault:
        seal_box(replace(PRELUDE, records=records), b"body", KEY.public, PLACE, bytes(32))
    assert fault.value.reason == "prelude_data"


@pytest.mark.parametrize("change", [
    {"type": EnvelopeType.GAP}, {"index": 1}, {"device": b"e" * 16}, {"stream": b"t" * 8}, {"cut": b"d" * 8},
    {"device_kid": b"l" * 8},
])  # fmt: skip
def test_a_box_opens_in_its_own_place_only(change: dict[str, object]) -> None:
    """The binding covers every field of the place."""
    box = seal_box(PRELUDE, b"body", KEY.public, PLACE, bytes(32))
    with pytest.raises(OpenError) as refusal:
        open_box(box, KEY, replace(PLACE, **change))  # type: ignore[arg-type]
    assert refusal.value.reason == "binding_differs"


def test_a_box_opens_with_the_key_it_names_only() -> None:
    """Even the right secret under another id is refused: the binding names the key."""
    box = seal_box(PRELUDE, b"body", KEY.public, PLACE, bytes(32))
    with pytest.raises(OpenError, match="another key"):
        open_box(box, OTHER, PLACE)
    with pytest.raises(OpenError) as refusal:
        open_box(box, replace(KEY, kid=OTHER.kid), replace(PLACE, box_kid=OTHER.kid))
    assert refusal.value.reason == "binding_differs"


def test_the_disclosed_key_of_one_box_is_evidence() -> None:
    """A stranger reads this box without the cloud's secret, and only in its place."""
    box = seal_box(PRELUDE, b"body", KEY.public, PLACE, bytes(32))
    shared = shared_key(box, KEY)
    assert open_evidence(box, KEY.public, shared, PLACE) == (PRELUDE, b"body")
    with pytest.raises(OpenError):
        open_evidence(box, KEY.public, shared, replace(PLACE, index=1))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"epoch": -1}, "prelude_number"),
        ({"generation": 2**32}, "prelude_number"),
        ({"boot_ms": 2**53}, "prelude_number"),
        ({"boot_id": b""}, "prelude_lengths"),
        ({"schema_hash": b"h"}, "prelude_lengths"),
        ({"wall_ms": 1}, "prelude_wall_time"),
        ({"records": (b"short",)}, "prelude_records"),
        ({"records": (b"s" * 10, b"r" * 10)}, "prelude_records"),
        ({"records": ()}, "prelude_data"),
    ],
)
def test_a_prelude_that_a_receiver_would_refuse_is_never_sealed(change: dict[str, object], reason: str) -> None:
    """The caller's fault, with the receiver's reason."""
    with pytest.raises(LocalProtocolError) as fault:
        seal_box(replace(PRELUDE, **change), b"", KEY.public, PLACE, bytes(32))  # type: ignore[arg-type]
    assert fault.value.reason == reason


@pytest.mark.parametrize("field", ["device", "stream", "cut", "device_kid", "box_kid"])
@pytest.mark.parametrize("change", [lambda value: value[:-1], lambda value: value + b"x"])
def test_a_place_of_wrong_lengths_is_the_callers_fault(field: str, change: Callable[[bytes], bytes]) -> None:
    """struct would cut or fill it silently."""
    place = replace(PLACE, **{field: change(getattr(PLACE, field))})  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError) as fault:
        seal_box(PRELUDE, b"", KEY.public, place, bytes(32))
    assert fault.value.reason == "place_lengths"
