"""Boxes of an envelope: what cannot be opened yet is asked for again, and what cannot be read spoils no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from carnet.box import Place, Prelude, seal_box
from carnet.codec import encode
from carnet.envelope import NO_PREVIOUS, Header, destroy, parse_envelope, sign_envelope
from carnet.envelopetype import EnvelopeType
from carnet.errors import FormatError, UnavailableError
from carnet.ids import parse_id
from carnet.note import DestructionReason
from carnet.schema import Schema
from carnet.sealed import seal_body
from carnet_cloud import boxes
from carnet_cloud.boxes import OpenBox, ReadBox, SchemaMissing, SealedBox, open_boxes, read_boxes, schemas_of
from tests import consentkit as kit
from tests.cloud.kit import BOOT, DEVICE, ODOMETER, SCHEMA, SEAL, SPEED, Cloud, Unit, column, readings

KEYS = {SEAL.kid: SEAL}
SEALED = seal_body(readings(), kit.RECIPIENT_KEY.public, parse_id(kit.RECORD_ID, "rec_"), BOOT, b"e" * 32)
"""What only its recipient opens."""


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def test_every_schema_that_is_not_here_is_asked_for_once_and_in_order(cloud: Cloud) -> None:
    """Nobody's fault: temporary, with a reason of its own."""
    (box,) = open_boxes(parse_envelope(Unit().data()), KEYS)
    unknown = [replace(box, prelude=replace(box.prelude, schema_hash=name)) for name in (b"z" * 16, b"y" * 16)]
    with cloud.store.transaction() as t, pytest.raises(SchemaMissing) as missing:
        schemas_of(t, DEVICE, [unknown[0], unknown[1], unknown[0]])
    assert missing.value.hashes == (b"y" * 16, b"z" * 16)
    assert (missing.value.reason, missing.value.temporary) == ("schema_missing", True)


def test_schemas_that_are_here_come_in_the_order_of_the_boxes(cloud: Cloud) -> None:
    """Of this device alone: another one's are asked of it."""
    other = Schema((column("Vehicle.Speed", SPEED, "m/s"),))
    (box,) = open_boxes(parse_envelope(Unit().data()), KEYS)
    both = [replace(box, prelude=replace(box.prelude, schema_hash=each.hash)) for each in (other, SCHEMA)]
    unit = Unit()
    cloud.enrol(unit)
    cloud.send(unit.schema(other), unit.schema())
    with cloud.store.transaction() as t:
        assert schemas_of(t, DEVICE, both) == [other, SCHEMA]
        with pytest.raises(SchemaMissing):
            schemas_of(t, bytes(16), both)


def test_a_box_sealed_to_a_key_that_is_not_here_waits_for_it(cloud: Cloud) -> None:
    with pytest.raises(UnavailableError) as unavailable:
        open_boxes(parse_envelope(Unit().data()), {})
    assert unavailable.value.reason == "cloud_key_unknown"


def test_a_destroyed_box_is_passed_over_and_the_others_keep_their_place(cloud: Cloud) -> None:
    """Where a consent ended on the car there is a note; what is left is opened in the place it was sealed for."""
    unit = Unit()
    sealed = []
    for index in range(3):
        place = Place(EnvelopeType.DATA, index, DEVICE, unit.stream, b"c" * 8, unit.key.kid, SEAL.kid)
        prelude = Prelude(1, 1, BOOT, 5, schema_hash=SCHEMA.hash, records=(b"r" * 10,))
        sealed.append((SEAL.kid, seal_box(prelude, bytes([index]), SEAL.public, place, bytes([index]) * 32)))
    header = Header(EnvelopeType.DATA, DEVICE, unit.stream, 1, b"c" * 8, unit.key.kid, NO_PREVIOUS)
    data = destroy(sign_envelope(header, sealed, unit.key), 1, 7, DestructionReason.ENDED, unit.key)
    assert [(box.index, box.body) for box in open_boxes(parse_envelope(data), KEYS)] == [(0, b"\0"), (2, b"\2")]


def test_only_a_short_schema_is_kept_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """They repeat for months; a lying unit could fill the memory with long ones."""
    document = Schema((column("Vehicle.Speed", SPEED, "m/s"),)).document
    for limit, is_kept in ((len(document), True), (len(document) - 1, False)):
        monkeypatch.setattr(boxes, "KEPT_BYTES_MAX", limit)
        first, second = boxes.parse_schema(document), boxes.parse_schema(document)
        assert first == second
        assert (first is second) == is_kept


def test_a_malformed_box_spoils_no_other_and_keeps_its_place() -> None:
    """Each is judged by its own content, in the order in which they came."""
    unit = Unit()
    good = open_boxes(parse_envelope(unit.data()), KEYS)
    bad = open_boxes(parse_envelope(unit.data(body=b"nonsense")), KEYS)
    first, second, third = read_boxes([(box, SCHEMA) for box in (*good, *bad, *good)])
    assert isinstance(second, FormatError)
    for each in (first, third):
        assert isinstance(each, ReadBox)
        assert (each.prelude, each.body) == (good[0].prelude, good[0].body)
        assert [times.tolist() for times in each.batch.times] == [times.tolist() for times in readings().times]


def opened(body: bytes) -> OpenBox:
    (box,) = open_boxes(parse_envelope(Unit().data(body=body)), KEYS)
    return box


def test_of_an_open_box_each_path_has_its_samples_from_every_column() -> None:
    """One path may go in several ways; what is told of a path is all of them."""
    twice = Schema((column(kit.SPEED, SPEED, "km/h"), column(kit.SPEED, ODOMETER, "km/h", 1)))
    batch = readings(twice)
    (box,) = read_boxes([(opened(encode(batch)), twice)])
    assert isinstance(box, ReadBox)
    assert (box.schema, box.kid) == (twice, None)
    assert box.counts == {kit.SPEED: sum(map(len, batch.values))}


def test_of_a_sealed_box_what_the_car_declares_is_told() -> None:
    """Nobody here opens it; it stays as it came."""
    box = opened(SEALED)
    (read,) = read_boxes([(box, SCHEMA)])
    assert isinstance(read, SealedBox)
    assert (read.prelude, read.body, read.schema) == (box.prelude, SEALED, SCHEMA)
    assert read.kid == kit.RECIPIENT_KEY.kid
    assert read.sealed.part == SEALED[-len(read.sealed.part) :]
    assert read.counts == dict.fromkeys((kit.ODOMETER, kit.SPEED), 4)


@pytest.mark.parametrize("records", [(), (b"r" * 10, b"s" * 10)])
def test_a_sealed_box_belongs_to_exactly_one_record(records: tuple[bytes, ...]) -> None:
    """Its recipient is one; what would be for nobody or for two is refused."""
    box = opened(SEALED)
    (refused,) = read_boxes([(replace(box, prelude=replace(box.prelude, records=records)), SCHEMA)])
    assert isinstance(refused, FormatError)
    assert refused.reason == "sealed_records"


def test_sealed_open_and_malformed_boxes_keep_their_places() -> None:
    """Open ones are read together, and yet each answer stands where its box did."""
    bodies = [SEALED, encode(readings()), SEALED[:-1], b"nonsense", encode(readings()), SEALED]
    found = read_boxes([(opened(body), SCHEMA) for body in bodies])
    assert [type(each) for each in found] == [SealedBox, ReadBox, FormatError, FormatError, ReadBox, SealedBox]
    assert [each.body for each in found if not isinstance(each, FormatError)] == [bodies[n] for n in (0, 1, 4, 5)]
    assert next(each.reason for each in found if isinstance(each, FormatError)) == "sealed_size"
