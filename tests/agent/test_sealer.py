"""Every box opens in its place and in no other, whatever the size and number of cuts."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest

from carnet.batch import Batch
from carnet.box import Prelude, open_box
from carnet.codec import decode
from carnet.envelope import NO_PREVIOUS, Header, parse_envelope, sign_envelope
from carnet.keys import SigningKey
from carnet.limits import MESSAGE_BYTES_MAX
from carnet.schema import Column, Schema
from carnet.signals import DeliveryClass
from carnet.transforms import Transform
from carnet_agent.buffer import NewEnvelope, Priority
from carnet_agent.sending.sealer import Seal, Sealer, schemas_of
from tests.cloud.kit import DEVICE, KEYS, SEAL

SIGN = SigningKey.from_seed(b"d" * 32)
STREAM = b"streamaa"


@dataclass(frozen=True)
class Cut:
    records: tuple[bytes, ...]
    delivery_class: DeliveryClass
    batch: Batch
    sealed_to: bytes | None = None


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(DEVICE, SIGN, random.Random(5).randbytes, lambda records: records[0][:8])


def batch(rows: int = 4, groups: int = 1, seed: int = 1) -> Batch:
    """Values that no codec makes smaller."""
    source = np.random.default_rng(seed)
    schema = Schema(tuple(Column(f"Vehicle.S{n}", "km", "int", "1", "0", Transform(), n) for n in range(groups)))
    times = tuple(np.arange(rows, dtype=np.int64) for _ in range(groups))
    values = tuple(source.integers(-(2**62), 2**62, rows) for _ in range(groups))
    return Batch(schema, times, values)


def cut(number: int, of: Batch, kind: DeliveryClass = DeliveryClass.BACKGROUND) -> Cut:
    return Cut((b"record%04d" % number,), kind, of)


def seal() -> Seal:
    return Seal(STREAM, KEYS.public.sealing_key, Prelude(1, 7, b"bootboot", 1000, 1_800_000_000_000, 20))


def opened(envelopes: list[NewEnvelope]) -> list[tuple[Prelude, bytes]]:
    """Through the real envelope, as the cloud opens them."""
    found = []
    for seq, new in enumerate(envelopes, 1):
        prev = NO_PREVIOUS if seq == 1 else b"p" * 32
        header = Header(new.type, DEVICE, STREAM, seq, new.cut, SIGN.kid, prev)
        data = sign_envelope(header, [(box.kid, box.box) for box in new.boxes], SIGN)
        assert len(data) <= MESSAGE_BYTES_MAX
        envelope = parse_envelope(data)
        found += [open_box(part.box or b"", SEAL, envelope.place(n)) for n, part in enumerate(envelope.parts)]
    return found


def test_boxes_of_one_class_share_an_envelope(sealer: Sealer) -> None:
    live = DeliveryClass.LIVE
    envelopes = sealer.window([cut(1, batch()), cut(2, batch(), live), cut(3, batch())], seal())
    assert [(each.priority, len(each.boxes)) for each in envelopes] == [(Priority.LIVE, 1), (Priority.BACKGROUND, 2)]
    assert [prelude.records for prelude, _ in opened(envelopes)] == [
        (b"record0002",),
        (b"record0001",),
        (b"record0003",),
    ]


def test_more_than_32_boxes_begin_another_envelope(sealer: Sealer) -> None:
    """A box is sealed for its index: in another envelope it is sealed anew."""
    envelopes = sealer.window([cut(number, batch()) for number in range(40)], seal())
    assert [len(each.boxes) for each in envelopes] == [32, 8]
    assert len({each.cut for each in envelopes}) == 2
    assert [prelude.records[0] for prelude, _ in opened(envelopes)] == [b"record%04d" % n for n in range(40)]


def test_f17_boxes_that_do_not_fit_together_go_apart(sealer: Sealer) -> None:
    envelopes = sealer.window([cut(number, batch(15_000, seed=number)) for number in range(4)], seal())
    assert [len(each.boxes) for each in envelopes] == [2, 2]
    assert len(opened(envelopes)) == 4


@pytest.mark.parametrize("groups", [1, 5])
def test_f17_a_batch_that_fits_no_box_is_halved_without_losing_a_sample(sealer: Sealer, groups: int) -> None:
    whole = batch(60_000 // groups, groups)
    one = cut(1, whole)
    boxes = opened(sealer.window([one], seal()))
    assert len(boxes) > 1
    documents = schemas_of([one])
    read = [decode(body, Schema.parse(documents[prelude.schema_hash])) for prelude, body in boxes]
    found: dict[str, list[int]] = {}
    for each in read:
        for column, values in zip(each.schema.columns, each.values, strict=True):
            found.setdefault(column.path, []).extend(values.tolist())
    assert found == {c.path: v.tolist() for c, v in zip(whole.schema.columns, whole.values, strict=True)}


def test_no_two_boxes_have_one_ephemeral_key(sealer: Sealer) -> None:
    """The same seed twice would show the difference of two plaintexts to whoever stores them."""
    boxes = [box.box for each in sealer.window([cut(n, batch()) for n in range(5)], seal()) for box in each.boxes]
    boxes += [box.box for each in sealer.checkpoint([cut(n, batch()) for n in range(5)], seal()) for box in each.boxes]
    assert len({box[:32] for box in boxes}) == 10


def test_a_checkpoint_has_one_box_in_each_place(sealer: Sealer) -> None:
    envelopes = sealer.checkpoint([cut(n, batch()) for n in range(3)], seal())
    assert [len(each.boxes) for each in envelopes] == [1, 1, 1]
    assert len({each.cut for each in envelopes}) == 3
    assert len(opened(envelopes)) == 3
