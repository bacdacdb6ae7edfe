"""The cloud is stopped and started again under load, as at every update: nothing lost, nothing doubled, nothing late.

Everything is a real process. Only one receiver serves a store, so a new one starts when the old one has ended.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

import pytest

from tests.system.mosquitto import Mosquitto
from tests.system.road import OFFER, Road, until
from tests.system.tally import Tally, make_car
from tests.system.test_kill import CLOCK_S, ITEMS, Ordeal, listening, settle, told

RESTARTS: Final = 2
PAUSE_S: Final = (0.7, 1.4)
STOP_S_MAX: Final = 10.0
"""What systemd waits before it kills."""
SEED: Final = 5


@pytest.fixture(scope="module")
def rolled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ordeal, list[tuple[int, float]], str]]:
    """What came of it, (exit code, seconds) of each stop, and the cloud's log."""
    folder = tmp_path_factory.mktemp("rolling")
    road = Road(folder, make_car(folder), Mosquitto(folder))
    stops = []
    try:
        road.prepare([{**OFFER, "items": ITEMS}])
        road.start_agent()
        until(road.connected, lambda: road.log("agent"))
        road.owner("grant", str(OFFER["id"]))
        until(lambda: listening(road), lambda: told(road))
        time.sleep(CLOCK_S)
        chance = random.Random(SEED)
        with Tally(road.car) as tally:
            found = Ordeal(tally.sent)
            for _ in range(RESTARTS):
                time.sleep(chance.uniform(*PAUSE_S))
                started = time.monotonic()
                stops.append((road.stop("cloud"), time.monotonic() - started))
                road.start_cloud()
                until(road.ready, lambda: road.log("cloud"))
            time.sleep(chance.uniform(*PAUSE_S))
        settle(road, found)
        yield found, stops, (road.folder / "cloud.log").read_text()
    finally:
        road.close()


@pytest.mark.timeout(150)
def test_each_stop_ends_in_good_time_and_in_good_order(
    rolled: tuple[Ordeal, list[tuple[int, float]], str],
) -> None:
    _, stops, log = rolled
    assert [code for code, _ in stops] == [0] * RESTARTS
    assert max(seconds for _, seconds in stops) < STOP_S_MAX
    assert "did not end in time" not in log


def test_nothing_is_lost_and_nothing_comes_twice(rolled: tuple[Ordeal, list[tuple[int, float]], str]) -> None:
    """Every number that the car counted is with the recipient, once; every event has one id and one outcome."""
    found, _, _ = rolled
    for path in found.sent:
        assert found.missing(path) == [], path
        assert [number for number, count in Counter(found.numbers(path)).items() if count > 1] == []
    ids = Counter(event["id"] for event in found.events)
    assert [name for name, count in ids.items() if count > 1] == []
    assert Counter(delivery["outcome"] for delivery in found.cloud["delivery"]) == {"confirmed": len(ids)}
    assert len(ids) > 100
    assert found.cloud["held"] == found.cloud["named_gap"] == found.cloud["block"] == []
    (stream,) = found.cloud["stream"]
    assert stream["watermark"] == found.facts["last_seq"]
