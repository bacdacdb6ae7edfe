"""What an envelope passes before it is opened: in one order, and with every neighbour of its number."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from carnet.envelope import parse_envelope
from carnet.errors import Error
from carnet.keys import SigningKey
from carnet.topics import topic_up
from carnet_cloud.intake import Arrived, Seen, authenticate, replay
from tests.cloud.kit import DEVICE, VEHICLE, Cloud, Unit

OTHER = bytes(range(50, 66))


class Held:
    """What has to wait for this transaction, written down."""

    def __init__(self) -> None:
        self.vehicles: list[bytes] = []

    def keep_vehicle(self, vehicle: bytes) -> None:
        self.vehicles.append(vehicle)


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.fixture
def unit(cloud: Cloud) -> Unit:
    unit = Unit()
    cloud.enrol(unit)
    return unit


def refusal(cloud: Cloud, topic: str, payload: bytes) -> tuple[str, bool]:
    with cloud.store.transaction() as t, pytest.raises(Error) as refused:
        authenticate(t, topic, payload)
    return refused.value.reason, refused.value.temporary


def test_of_several_things_that_are_wrong_the_first_check_tells(cloud: Cloud, unit: Unit) -> None:
    """Topic, fields, device, signature, state: each is reached only when all before it have passed."""
    stranger = Unit(device=OTHER, key=SigningKey.from_seed(b"h" * 32))
    thief = Unit(key=SigningKey.from_seed(b"h" * 32))
    own = topic_up(DEVICE)
    assert refusal(cloud, "elsewhere", b"")[0].startswith("topic_")
    assert refusal(cloud, own, b"") == ("envelope_size", False)
    assert refusal(cloud, own, stranger.schema()) == ("topic_other_device", False)
    assert refusal(cloud, topic_up(OTHER), stranger.schema()) == ("device_unknown", False)
    with cloud.store.transaction() as t:
        t.devices.set_state(DEVICE, "quarantined")
    assert refusal(cloud, own, thief.schema()) == ("device_kid_differs", False)
    assert refusal(cloud, own, unit.schema()) == ("device_quarantined", True)
    with cloud.store.transaction() as t:
        t.devices.set_state(DEVICE, "ended")
    assert refusal(cloud, own, unit.schema()) == ("device_ended", False)


def test_the_consents_of_the_vehicle_are_held_while_its_envelope_is_judged(cloud: Cloud, unit: Unit) -> None:
    """Before anything is believed of it; nothing is held for a device that nobody knows."""
    held: Any = Held()
    with cloud.store.transaction() as t:
        own = replace(t, others=held)
        with pytest.raises(Error):
            authenticate(own, topic_up(OTHER), Unit(device=OTHER).schema())
        assert held.vehicles == []
        assert authenticate(own, topic_up(DEVICE), unit.schema()).device.vehicle == VEHICLE
        assert held.vehicles == [VEHICLE]


def seen(cloud: Cloud, before: list[bytes], payload: bytes, watermark: int = 0) -> Seen:
    """What is said of an envelope after others of its stream."""
    with cloud.store.transaction() as t:
        for data in before:
            _, stream, seq = arrived(cloud, data).key
            known = parse_envelope(data)
            t.streams.remember(DEVICE, stream, seq, known.manifest_hash, known.header.prev)
        if watermark:
            _, stream, _ = arrived(cloud, payload).key
            t.streams.set(DEVICE, stream, replace(t.streams.get(DEVICE, stream), watermark=watermark), 1)
        return replay(t, arrived(cloud, payload))


def arrived(cloud: Cloud, data: bytes) -> Arrived:
    with cloud.store.transaction() as t:
        device = t.devices.get(DEVICE)
    assert device is not None
    return Arrived(device, parse_envelope(data), data)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_numbers_of_one_chain_are_new_in_any_order_and_then_known(
    cloud: Cloud, unit: Unit, order: tuple[int, ...]
) -> None:
    """A broker may hand over the second before the first, and the hole between two last."""
    chain = [unit.schema() for _ in range(3)]
    for at, index in enumerate(order):
        taken = [chain[each] for each in order[:at]]
        assert seen(cloud, taken[-1:], chain[index]) is Seen.NEW
    assert seen(cloud, [chain[order[-1]]], chain[0]) is Seen.DUPLICATE
    assert [seen(cloud, [], each) for each in chain] == [Seen.DUPLICATE] * 3


def fork(unit: Unit, count: int) -> list[bytes]:
    """What another unit with the same keys sends under the same numbers."""
    other = replace(unit, seq=0, head=bytes(32), boot_ms=unit.boot_ms + 1)
    return [other.schema() for _ in range(count)]


@pytest.mark.parametrize(
    ("known", "number"),
    [([1], 1), ([1], 2), ([2], 1), ([1, 3], 2), ([3], 2)],
)
def test_another_chain_under_the_same_numbers_is_a_clone(
    cloud: Cloud, unit: Unit, known: list[int], number: int
) -> None:
    """Seen at its own number, at the one before it or at the one after it."""
    chain, other = [unit.schema() for _ in range(3)], fork(Unit(), 3)
    assert seen(cloud, [chain[each - 1] for each in known], other[number - 1]) is Seen.CLONE


def test_one_neighbour_that_fits_does_not_excuse_the_other(cloud: Cloud, unit: Unit) -> None:
    """The follower of a fork, behind the true predecessor."""
    chain, other = [unit.schema() for _ in range(3)], fork(Unit(), 3)
    assert seen(cloud, [chain[0], other[2]], chain[1]) is Seen.CLONE


def test_what_lies_at_or_below_the_watermark_is_no_news(cloud: Cloud, unit: Unit) -> None:
    """Its row may be gone from the table, or it was named in a gap: a duplicate, and no word about a clone."""
    chain = [unit.schema() for _ in range(3)]
    assert seen(cloud, [], chain[1], watermark=2) is Seen.DUPLICATE
    assert seen(cloud, [], chain[2], watermark=2) is Seen.NEW
