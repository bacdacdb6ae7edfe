"""A new grant set is sent at once, again until the car names its generation, and not for ever."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from carnet.down import GrantSetMessage
from carnet.topics import topic_down
from carnet_cloud.push import REPEAT_MS, REPEATS_MAX, Pusher
from tests import consentkit as kit
from tests.cloud.kit import DEVICE, KEYS, NOW_MS, VEHICLE, Cloud, Unit


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    cloud = Cloud(tmp_path)
    cloud.enrol(Unit())
    cloud.give()
    return cloud


@pytest.fixture
def pusher(cloud: Cloud) -> Pusher:
    return Pusher(cloud.store, KEYS.sign, random.Random(1).randbytes)


def test_a_change_is_sent_at_once_to_the_unit_of_the_vehicle(cloud: Cloud, pusher: Pusher) -> None:
    pusher.changed(VEHICLE)
    ((topic, payload),) = pusher.due(NOW_MS)
    message = Unit().open(payload)
    assert topic == topic_down(DEVICE)
    assert isinstance(message, GrantSetMessage)
    assert kit.VEHICLE.encode() in message.grant_set


def test_it_is_repeated_until_the_car_names_the_generation(pusher: Pusher) -> None:
    pusher.changed(VEHICLE)
    assert len(pusher.due(NOW_MS)) == 1
    assert pusher.due(NOW_MS + 1) == []
    assert len(pusher.due(NOW_MS + 5_000)) == 1
    pusher.seen(VEHICLE, 0, 1)
    assert len(pusher.due(NOW_MS + 60_000)) == 1
    pusher.seen(VEHICLE, 1, 1)
    assert pusher.due(NOW_MS + 600_000) == []


def test_a_car_that_is_away_is_left_to_its_next_check_in(pusher: Pusher) -> None:
    pusher.changed(VEHICLE)
    sent = sum(len(pusher.due(NOW_MS + n * 3_600_000)) for n in range(100))
    assert sent == REPEATS_MAX


def test_the_answer_to_a_check_in_is_repeated_too(cloud: Cloud, pusher: Pusher) -> None:
    """Whoever restarted the cloud since, and however long the car was away."""
    cloud.receiver._saw, cloud.receiver._behind = pusher.seen, pusher.behind
    cloud.send(Unit(generation=0).check_in())
    assert pusher.due(NOW_MS) == []
    assert len(pusher.due(NOW_MS + REPEAT_MS)) == 1
    cloud.send(Unit(generation=1).check_in())
    assert pusher.due(NOW_MS + 600_000) == []


def test_a_box_that_names_the_generation_is_enough(cloud: Cloud, pusher: Pusher) -> None:
    """The receiver tells what it saw; no extra message is needed."""
    seen: list[tuple[bytes, int, int]] = []
    unit = Unit()
    cloud.send(unit.schema())
    cloud.receiver._saw = lambda *what: seen.append(what)
    cloud.send(unit.data())
    assert seen == [(VEHICLE, 1, 1)]
