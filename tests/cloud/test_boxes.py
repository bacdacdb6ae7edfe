"""Boxes of an envelope: what cannot be opened yet is asked for again, and what cannot be read spoils no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from carnet.envelope import parse_envelope
from carnet.errors import FormatError, UnavailableError
from carnet_cloud.boxes import ReadBox, SchemaMissing, open_boxes, read_boxes, schemas_of
from tests.cloud.kit import DEVICE, SCHEMA, SEAL, Cloud, Unit, readings

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


def test_a_box_sealed_to_a_key_that_is_not_here_waits_for_it(cloud: Cloud) -> None:
    with pytest.raises(UnavailableError) as unavailable:
        open_boxes(parse_envelope(Unit().data()), {})
    assert unavailable.value.reason == "cloud_key_unknown"


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
