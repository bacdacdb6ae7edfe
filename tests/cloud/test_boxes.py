"""Boxes of an envelope: what cannot be opened yet is asked for again, and what cannot be read spoils no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from carnet.box import Place, Prelude, seal_box
from carnet.envelope import NO_PREVIOUS, Header, destroy, parse_envelope, sign_envelope
from carnet.envelopetype import EnvelopeType
from carnet.errors import FormatError, UnavailableError
from carnet.note import DestructionReason
from carnet.schema import Schema
from carnet_cloud import boxes
from carnet_cloud.boxes import ReadBox, SchemaMissing, open_boxes, read_boxes, schemas_of
from tests.cloud.kit import BOOT, DEVICE, SCHEMA, SEAL, SPEED, Cloud, Unit, column, readings

KEYS = {SEAL.kid: SEAL}


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
