"""An envelope: signed as a manifest, so that a box can go and the rest still verifies."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carnet.box import Place, Prelude, open_box, seal_box
from carnet.envelope import NO_PREVIOUS, Envelope, Header, destroy, parse_envelope, sign_envelope, verify
from carnet.envelopetype import EnvelopeType
from carnet.errors import FormatError, LocalProtocolError, SignatureError
from carnet.keys import BoxKey, SigningKey
from carnet.limits import MESSAGE_BYTES_MAX
from carnet.note import NOTE_BYTES, DestructionReason, Note

DEVICE_KEY, OTHER_KEY = SigningKey.from_seed(b"\x01" * 32), SigningKey.from_seed(b"\x02" * 32)
CLOUD = BoxKey.from_seed(b"\x03" * 32)
HEADER = Header(EnvelopeType.DATA, b"d" * 16, b"s" * 8, 1, b"c" * 8, DEVICE_KEY.kid, NO_PREVIOUS)
PRELUDE = Prelude(1, 2, b"b" * 8, 3, schema_hash=b"h" * 16, records=(b"r" * 10,))


def _sealed(bodies: list[bytes]) -> list[tuple[bytes, bytes]]:
    places = [
        Place(HEADER.type, n, HEADER.device, HEADER.stream, HEADER.cut, HEADER.device_kid, CLOUD.kid)
        for n in range(len(bodies))
    ]
    return [
        (CLOUD.kid, seal_box(PRELUDE, body, CLOUD.public, place, bytes([place.index]) * 32))
        for body, place in zip(bodies, places, strict=True)
    ]


def _filling(length: int) -> bytes:
    """The longest body whose plaintext is padded to ``length``: beside it are the prelude, one record and the mark."""
    return bytes(length - 94 - 10 - 1)


def _received(data: bytes) -> Envelope:
    envelope = parse_envelope(data)
    verify(envelope, DEVICE_KEY.public)
    return envelope


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=32))
def test_every_box_comes_back_from_its_place(bodies: list[bytes]) -> None:
    """One to 32 boxes."""
    envelope = _received(sign_envelope(HEADER, _sealed(bodies), DEVICE_KEY))
    assert envelope.header == HEADER
    opened = [open_box(part.box or b"", CLOUD, envelope.place(n)) for n, part in enumerate(envelope.parts)]
    assert opened == [(PRELUDE, body) for body in bodies]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_boxes_can_be_destroyed_in_any_order_without_touching_manifest_or_signature(order: tuple[int, ...]) -> None:
    """What is left opens, what is gone is named by a verified note, the chain never notices."""
    data = sign_envelope(HEADER, _sealed([b"a" * 10, b"b" * 300, b"c" * 600]), DEVICE_KEY)
    before = _received(data)
    for count, index in enumerate(order, 1):
        data = destroy(data, index, 7 + index, DestructionReason.EPOCH, DEVICE_KEY)
        after = _received(data)
        assert (after.manifest_hash, after.signature) == (before.manifest_hash, before.signature)
        gone = [part.note for part in after.parts if part.note is not None]
        assert {(note.index, note.generation) for note in gone} == {(n, 7 + n) for n in order[:count]}
        for n, part in enumerate(after.parts):
            assert part.size == before.parts[n].size
            assert (part.box is None) == (n in order[:count])
            assert part.box is None or part.box == before.parts[n].box
    assert destroy(data, 0, 99, DestructionReason.ERASED, DEVICE_KEY) == data


def test_the_shortest_and_the_longest_that_are_looked_at() -> None:
    """A table with one entry, and the limit of a message: one byte less or more is refused by its length alone."""
    whole = sign_envelope(HEADER, _sealed([b""]), DEVICE_KEY)
    table = len(whole) - parse_envelope(whole).parts[0].size
    reasons = []
    for data in (whole[: table - 1], whole[:table], whole.ljust(MESSAGE_BYTES_MAX), whole.ljust(MESSAGE_BYTES_MAX + 1)):
        with pytest.raises(FormatError) as refusal:
            parse_envelope(data)
        reasons.append(refusal.value.reason)
    assert reasons == ["envelope_size", "envelope_length", "envelope_length", "envelope_size"]


def test_an_envelope_has_up_to_32_boxes() -> None:
    assert len(_received(sign_envelope(HEADER, _sealed([b""]) * 32, DEVICE_KEY)).parts) == 32


def test_an_envelope_may_be_as_long_as_a_message_also_where_a_note_has_made_it_shorter() -> None:
    """Filled to the last byte by boxes of sizes that padding gives; one step more is refused."""
    lengths = [258_048, 1920, *[256] * 6]
    fits = sign_envelope(HEADER, _sealed([_filling(each) for each in lengths]), DEVICE_KEY)
    assert len(fits) == MESSAGE_BYTES_MAX
    for data in (fits, destroy(fits, 0, 7, DestructionReason.ENDED, DEVICE_KEY)):
        assert len(_received(data).parts) == len(lengths)
    with pytest.raises(LocalProtocolError) as fault:
        sign_envelope(HEADER, _sealed([_filling(each) for each in (*lengths[:-1], 272)]), DEVICE_KEY)
    assert fault.value.reason == "envelope_size"


def test_a_note_that_nobody_has_signed_yet_is_without_a_signature() -> None:
    assert Note(0, DestructionReason.ENDED, 7, b"h" * 32).signature == b""


def test_a_box_of_another_type_cannot_be_destroyed() -> None:
    """A gap, a receipt or a schema is nobody's reading: no grant ends with it."""
    header = replace(HEADER, type=EnvelopeType.GAP)
    data = sign_envelope(header, _sealed([b""]), DEVICE_KEY)
    with pytest.raises(LocalProtocolError) as fault:
        destroy(data, 0, 1, DestructionReason.ENDED, DEVICE_KEY)
    assert fault.value.reason == "destroy_arguments"


def test_a_note_that_is_cut_off_is_no_note() -> None:
    """The note is the last part: whatever is missing of it, nothing else takes its place."""
    whole = destroy(sign_envelope(HEADER, _sealed([b""]), DEVICE_KEY), 0, 7, DestructionReason.ENDED, DEVICE_KEY)
    for missing in (1, 64, NOTE_BYTES):
        with pytest.raises(FormatError) as refusal:
            parse_envelope(whole[:-missing])
        assert refusal.value.reason == "note_malformed"


def test_the_manifest_hash_names_the_content_and_not_the_signature() -> None:
    """Any other header field or box is another manifest; the next envelope's prev is this hash."""
    boxes = _sealed([b"a", b"b"])
    base = parse_envelope(sign_envelope(HEADER, boxes, DEVICE_KEY)).manifest_hash
    others = [
        sign_envelope(replace(HEADER, seq=2, prev=base), boxes, DEVICE_KEY),
        sign_envelope(replace(HEADER, cut=b"x" * 8), boxes, DEVICE_KEY),
        sign_envelope(HEADER, boxes[::-1], DEVICE_KEY),
        sign_envelope(HEADER, boxes[:1], DEVICE_KEY),
        sign_envelope(HEADER, [(OTHER_KEY.kid, boxes[0][1]), boxes[1]], DEVICE_KEY),
    ]
    assert len({base, *(parse_envelope(other).manifest_hash for other in others)}) == 6


def test_another_key_verifies_nothing() -> None:
    """Neither under its own id nor under the device's."""
    envelope = parse_envelope(sign_envelope(HEADER, _sealed([b""]), DEVICE_KEY))
    with pytest.raises(SignatureError) as refusal:
        verify(envelope, OTHER_KEY.public)
    assert refusal.value.reason == "device_kid_differs"


@pytest.mark.parametrize(
    ("header", "count", "reason"),
    [
        (replace(HEADER, seq=0), 1, "seq_range"),
        (replace(HEADER, seq=2), 1, "prev_rule"),
        (replace(HEADER, prev=b"p" * 32), 1, "prev_rule"),
        (replace(HEADER, type=EnvelopeType.KEY_CHANGE), 1, "key_change_unsupported"),
        (replace(HEADER, type=EnvelopeType.GAP), 2, "box_count"),
        (replace(HEADER, seq=-1), 1, "header_fields"),
        (replace(HEADER, device=b"short"), 1, "header_fields"),
        (HEADER, 0, "header_fields"),
        (HEADER, 33, "header_fields"),
        (replace(HEADER, device_kid=OTHER_KEY.kid), 1, "device_kid_differs"),
    ],
)
def test_an_envelope_that_a_receiver_would_refuse_is_never_signed(header: Header, count: int, reason: str) -> None:
    """The caller's fault, with the receiver's reason where there is one."""
    with pytest.raises(LocalProtocolError) as fault:
        sign_envelope(header, _sealed([b""]) * count, DEVICE_KEY)
    assert fault.value.reason == reason


def test_an_envelope_that_is_too_long_is_never_signed() -> None:
    """The limit is the whole envelope's."""
    with pytest.raises(LocalProtocolError) as fault:
        sign_envelope(HEADER, _sealed([bytes(131_000)] * 2), DEVICE_KEY)
    assert fault.value.reason == "envelope_size"


@pytest.mark.parametrize(
    ("index", "key", "reason"),
    [
        (1, DEVICE_KEY, "destroy_arguments"),
        (-1, DEVICE_KEY, "destroy_arguments"),
        (0, OTHER_KEY, "device_kid_differs"),
    ],
)
def test_only_the_device_destroys_and_only_what_is_there(index: int, key: SigningKey, reason: str) -> None:
    """A wrong index or key is the caller's fault."""
    data = sign_envelope(HEADER, _sealed([b""]), DEVICE_KEY)
    with pytest.raises(LocalProtocolError) as fault:
        destroy(data, index, 1, DestructionReason.ENDED, key)
    assert fault.value.reason == reason
