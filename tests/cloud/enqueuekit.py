"""The enqueuer asked directly: envelopes of several boxes, opened as the receiver opens them, and what it has made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from carnet.batch import Batch
from carnet.box import Place, Prelude, seal_box
from carnet.codec import encode
from carnet.envelope import Header, parse_envelope, sign_envelope
from carnet.envelopetype import EnvelopeType
from carnet.ids import parse_id
from carnet.times import Anchor, claimed_anchor
from carnet.topics import topic_up
from carnet_cloud.boxes import open_boxes, read_boxes, schemas_of
from carnet_cloud.enqueue import Enqueuer
from carnet_cloud.event import Payload, unpack
from carnet_cloud.intake import authenticate
from carnet_cloud.store import Transaction
from carnet_cloud.store.outbox import Delivery
from carnet_cloud.wrapping import open_sealed
from tests import consentkit as kit
from tests.cloud.kit import KEYS, NOW_MS, SEAL, VEHICLE, Cloud, Unit

BOOT_MS = 3_600_000
"""When the kit's unit cuts."""


def boxes(unit: Unit, *batches: Batch, records: tuple[str, ...] = (kit.RECORD_ID,)) -> bytes:
    """One envelope with a box for each batch."""
    unit.seq += 1
    cut, names = unit.seq.to_bytes(8, "big"), tuple(sorted(parse_id(each, "rec_") for each in records))
    sealed = []
    for index, batch in enumerate(batches):
        place = Place(EnvelopeType.DATA, index, unit.device, unit.stream, cut, unit.key.kid, SEAL.kid)
        prelude = Prelude(
            unit.epoch, unit.generation, unit.boot, unit.boot_ms, wall_ms=unit.wall_ms,
            wall_uncertainty_ms=unit.uncertainty_ms, schema_hash=batch.schema.hash, records=names,
        )  # fmt: skip
        sealed.append((SEAL.kid, seal_box(prelude, encode(batch), SEAL.public, place, cut * 4)))
    header = Header(EnvelopeType.DATA, unit.device, unit.stream, unit.seq, cut, unit.key.kid, unit.head)
    data = sign_envelope(header, sealed, unit.key)
    unit.head = parse_envelope(data).manifest_hash
    return data


def enqueue(
    enqueuer: Enqueuer, t: Transaction, data: bytes, anchor: Anchor | None = None, received_ms: int = NOW_MS
) -> int:
    """One envelope, judged by what it claims of its time or by ``anchor``."""
    topic = topic_up(parse_envelope(data).header.device)
    arrived = authenticate(t, topic, data)
    opened = open_boxes(arrived.envelope, KEYS.seal)
    read = read_boxes(list(zip(opened, schemas_of(t, arrived.device.device, opened), strict=True)))
    good = [box for box in read if not isinstance(box, Exception)]
    assert len(good) == len(read)
    anchor = anchor or claimed_anchor(good[0].prelude)
    assert anchor is not None
    return enqueuer.enqueue(arrived, good, anchor, received_ms, NOW_MS)


def judge(cloud: Cloud, data: bytes, anchor: Anchor | None = None, received_ms: int = NOW_MS) -> int:
    """The same in a transaction of its own."""
    with cloud.store.transaction() as t:
        return enqueue(Enqueuer(cloud.outlet, t), t, data, anchor, received_ms)


def payloads(cloud: Cloud, recipient: str = kit.RECIPIENT) -> list[Payload]:
    """What lies in the outbox, opened."""
    found = []
    with cloud.store.transaction() as t:
        for queued in t.outbox.due(recipient, b"sender01", 2**52, 1000):
            stored = t.outbox_keys.get(queued.record, queued.recipient)
            assert stored is not None
            key = cloud.wrapping.unwrap(*stored)
            assert key is not None
            plain = open_sealed(queued.payload, key, queued.event_id)
            assert plain is not None
            found.append(unpack(plain))
    return found


def deliveries(cloud: Cloud) -> list[Delivery]:
    with cloud.store.transaction() as t:
        return t.outbox.deliveries(kit.RECORD_ID)


def blocks(cloud: Cloud) -> dict[tuple[str, str, str], int]:
    """(record, path, reason) -> samples that the vehicle's owner is told of."""
    with cloud.store.transaction() as t:
        return {(b.record, b.path, b.reason): b.samples for b in t.blocks.of(VEHICLE)}


def calls(
    monkeypatch: pytest.MonkeyPatch, target: Any, name: str, first: Callable[[], None] = lambda: None
) -> list[Any]:
    """The arguments of every call of a method from now on, before each of which ``first`` happens."""
    seen: list[Any] = []
    original = getattr(target, name)

    def counted(*arguments: Any, **named: Any) -> Any:
        seen.append(arguments)
        first()
        return original(*arguments, **named)

    monkeypatch.setattr(target, name, counted)
    return seen
