"""Sealed bodies and events: every vector has its outcome, the document's table is the code's, and nothing that a cloud
can change of an event goes unseen.
"""

from __future__ import annotations

import ast
import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import carnet
from carnet import canonical
from carnet.batch import Batch
from carnet.codec import NUMBERS_MAX
from carnet.errors import FormatError, LocalProtocolError, OpenError, RemoteError
from carnet.keys import BoxKey
from carnet.limits import NUMBER_MAX
from carnet.padding import is_padded_length
from carnet.schema import Column, Schema
from carnet.sealed import Declaration, open_body, parse_sealed, seal_body
from carnet.sealedbox import OVERHEAD
from carnet.sealedevents import Opener
from carnet.transforms import Aggregate, Transform
from tests.vectors import make_sealed_vectors as maker

DOCUMENT = json.loads(maker.FILE.read_text())
VECTORS: list[dict[str, Any]] = DOCUMENT["vectors"]
KEY = BoxKey.from_seed(bytes.fromhex(DOCUMENT["recipient_seed"]))
PAGE = (Path(__file__).parents[2] / "docs" / "sealed-format.md").read_text(encoding="utf-8")
SCHEMA = Schema(
    (
        Column("Vehicle.Speed", "km/h", "int", "0.5", "0", Transform(interval_ms=1000), 0),
        Column("Vehicle.TraveledDistance", "km", "int", "1", "0", Transform(interval_ms=60_000), 1),
    )
)
RECORD, BOOT = b"record-one", b"bootboot"


def batch() -> Batch:
    times = np.array([1000, 2000, 3000], np.int64), np.array([1500], np.int64)
    return Batch(SCHEMA, times, (np.array([100, 102, 104], np.int64), np.array([7], np.int64)))


def outcome(event: dict[str, Any], opener: Opener | None = None) -> str:
    try:
        (opener or Opener((KEY,))).open(json.dumps(event).encode())
    except RemoteError as refusal:
        return refusal.reason
    return "accepted"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_an_event_has_its_outcome(vector: dict[str, Any]) -> None:
    assert outcome(vector["event"]) == vector["outcome"]
    if vector["outcome"] == "accepted":
        opened = json.loads(Opener((KEY,)).open(json.dumps(vector["event"]).encode()))
        assert opened["data"]["columns"] == vector["columns"]


def judged_by_the_cloud(event: dict[str, Any]) -> str:
    (piece,) = event["data"]["sealed"]
    schema = Schema.parse(canonical.encode(piece["schema"]))
    try:
        parse_sealed(base64.b64decode(piece["body"], validate=True), schema)
    except RemoteError as refusal:
        return refusal.reason
    return "accepted"


def test_the_cloud_refuses_what_it_can_see_for_the_same_reason_and_nothing_else() -> None:
    for name, reason, event in maker.refused_by_everybody():
        assert judged_by_the_cloud(event) == reason, name
    inside = {"box_does_not_open", "binding_differs", "padding_wrong", "declared_counts", "declared_times"}
    unseen = [each for each in maker.refused_by_the_recipient() if each[1] in inside]
    assert {judged_by_the_cloud(event) for _, _, event in unseen} == {"accepted"}


def test_the_vectors_are_what_their_maker_makes() -> None:
    assert maker.FILE.read_text() == maker.text(), "run python -m tests.vectors.make_sealed_vectors"


def test_the_table_of_refusals_is_the_codes_and_each_has_a_vector() -> None:
    """Those of the batch have theirs, and `replayed` takes two events."""
    table = re.findall(r"^\| \w+Error \| `(\w+)` \|", PAGE, re.MULTILINE)
    parts = {"sealed": {"FormatError", "OpenError"}, "sealedevents": {"FormatError"}}
    in_code = {
        str(node.args[0].value)
        for module, errors in parts.items()
        for node in ast.walk(ast.parse((Path(carnet.__file__).parent / f"{module}.py").read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in errors
        if isinstance(node.args[0], ast.Constant)
    }
    elsewhere = {"varint_malformed", "box_does_not_open", "padding_wrong", "after_receipt", "sealed_records"}
    assert len(table) == len(set(table))
    assert set(table) == (in_code | elsewhere) - {"body_malformed"}
    tried = {vector["outcome"] for vector in VECTORS} - {"accepted", "batch_length", "codec_unknown"}
    assert tried == set(table) - {"replayed", "sealed_records"}


def test_what_was_sealed_is_what_opens() -> None:
    body = seal_body(batch(), KEY.public, RECORD, BOOT, b"e" * 32)
    declared = parse_sealed(body, SCHEMA).declaration
    assert declared == Declaration(KEY.kid, 1000, 3000, (3, 1))
    assert declared.samples(SCHEMA) == {"Vehicle.Speed": 3, "Vehicle.TraveledDistance": 1}
    opened = open_body(body, SCHEMA, KEY, RECORD, BOOT)
    assert [values.tolist() for values in opened.values] == [[100, 102, 104], [7]]


def test_no_bit_of_a_sealed_body_can_be_changed() -> None:
    """Whatever it says then, it says it to nobody."""
    body = seal_body(batch(), KEY.public, RECORD, BOOT, b"e" * 32)
    for at in range(len(body)):
        changed = body[:at] + bytes([body[at] ^ 1 << at % 8]) + body[at + 1 :]
        with pytest.raises((FormatError, OpenError)):
            open_body(changed, SCHEMA, KEY, RECORD, BOOT)


def test_no_length_of_a_sealed_body_is_another_one() -> None:
    body = seal_body(batch(), KEY.public, RECORD, BOOT, b"e" * 32)
    for size in range(len(body)):
        with pytest.raises((FormatError, OpenError)):
            open_body(body[:size], SCHEMA, KEY, RECORD, BOOT)


def test_values_do_not_show_in_the_size() -> None:
    """The part is padded: what it holds tells at most an order of magnitude."""
    small, large = batch(), batch()
    large.values[0][:] = [2**40, -(2**41), 2**42]
    sizes = {len(seal_body(each, KEY.public, RECORD, BOOT, b"e" * 32)) for each in (small, large)}
    assert len(sizes) == 1


def test_a_part_under_another_id_is_a_replay_and_the_same_event_again_is_not() -> None:
    event = VECTORS[0]["event"]
    opener = Opener((KEY,))
    assert [outcome(event, opener), outcome(event, opener)] == ["accepted", "accepted"]
    assert outcome({**event, "id": "0" * 31 + "2"}, opener) == "replayed"


def test_an_event_that_is_not_sealed_comes_back_as_it_is() -> None:
    data = b'{"type":"carnet.readings.v1",  "data":{"columns":[]}}'
    assert Opener((KEY,)).open(data) == data


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b"\xff", b'{"type":"carnet.sealed.v1"}', b'{"a":1,"a":1}', b'{"a":NaN}']
)
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError) as refusal:
        Opener((KEY,)).open(data)
    assert refusal.value.reason == "event_malformed"


def test_nothing_is_bound_to_an_id_of_another_length() -> None:
    with pytest.raises(LocalProtocolError) as refused:
        seal_body(batch(), KEY.public, RECORD + b"x", BOOT[:-1], b"e" * 32)
    assert refused.value.reason == "context_lengths"


# what the cloud sees


def seen(body: bytes) -> str:
    try:
        parse_sealed(body, SCHEMA)
    except FormatError as refusal:
        return refusal.reason
    return "accepted"


def declared(first_ms: int = 1000, last_ms: int = 3000, counts: tuple[int, int] = (3, 1), size: int = 256) -> bytes:
    """A body that declares this over a part for ``size`` bytes."""
    return Declaration(KEY.kid, first_ms, last_ms, counts).encode() + bytes(size + OVERHEAD)


def test_a_body_that_is_not_sealed_or_ends_within_its_key_id_is_refused() -> None:
    whole = declared()
    assert [seen(bytes([form]) + whole[1:]) for form in (0, 1, 3)] == ["sealed_size"] * 3
    assert [seen(whole[:size]) for size in range(9)] == ["sealed_size"] * 9
    assert seen(whole[:9]) == "varint_malformed"


def test_times_and_counts_are_declared_up_to_their_bounds() -> None:
    assert seen(declared(last_ms=NUMBER_MAX)) == "accepted"
    assert seen(declared(last_ms=NUMBER_MAX + 1)) == "sealed_times"
    # a sample is a time and a value
    assert seen(declared(counts=(NUMBERS_MAX // 2, 0))) == "accepted"
    assert seen(declared(counts=(NUMBERS_MAX // 2, 1))) == "batch_counts"
    assert (seen(declared(counts=(0, 0))), seen(declared(counts=(0, 1)))) == ("batch_counts", "accepted")


def test_a_part_has_the_size_of_something_padded() -> None:
    sizes = [size for size in range(700) if seen(declared(size=size)) == "accepted"]
    assert sizes == [size for size in range(700) if is_padded_length(size)]


def test_a_row_of_an_aggregate_stands_for_its_window_from_the_beginning() -> None:
    """Its time is the window's last millisecond, or is cut to the next one's first."""
    transform = Transform(aggregate=Aggregate(1000, ("min",)))
    window = Schema((Column("Vehicle.Speed", "km/h", "int", "1", "0", transform, 0, "min"),))
    for time_ms, first_ms in ((2000, 1000), (2001, 2000), (2999, 2000), (3000, 2000)):
        one = Batch(window, (np.array([time_ms], np.int64),), (np.array([5], np.int64),))
        assert (Declaration.of(one, KEY.kid).first_ms, Declaration.of(one, KEY.kid).last_ms) == (first_ms, time_ms)
