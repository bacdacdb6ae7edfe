"""F27, restored backup: what a store that fell back judges again comes to the same event, in id and in content."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from carnet_cloud.core import Receiver
from carnet_cloud.store import SqliteStore
from tests import consentkit as kit
from tests.cloud.kit import KEYS, NOW_MS, Cloud, Unit


def backup(cloud: Cloud) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    cloud.store._connection.backup(copy)
    return copy


def restore(cloud: Cloud, image: sqlite3.Connection) -> None:
    """The store is as it was; journal, keys and everything outside of it stay."""
    cloud.store = SqliteStore(image, incarnation=cloud.store.incarnation, now_ms=NOW_MS)
    cloud.receiver = Receiver(cloud.store, KEYS, cloud.outlet, cloud.outlet.random)


def resumed(cloud: Cloud, ago_ms: int) -> None:
    """A record that was paused, and resumed so long ago: only what was captured since may leave."""
    entries = [cloud.give()]
    for kind, since_ms in (("pause", 60_000), ("resume", ago_ms)):
        entries.append(kit.event(kind, entries, cloud.clock.ms - since_ms))
        cloud.consents.event(entries[-1], kit.RECORD_ID)


def contents(cloud: Cloud) -> list[tuple[str, Any]]:
    """Id and readings of every event that waits."""
    return [(event["id"], event["data"]["columns"]) for event in cloud.events()]


@pytest.mark.parametrize("before_ms, after_ms", [(500, 5), (5, 500), (5, None), (None, 5)])
def test_f27_an_envelope_across_a_resume_has_the_same_content_whatever_clock_was_known_around_it(
    tmp_path: Path, before_ms: int | None, after_ms: int | None
) -> None:
    """The unit's other messages told the time to within so much before the store fell back, and after it.

    The envelope's own word is half a second; its second row lies a quarter of one inside.
    """
    cloud, unit = Cloud(tmp_path), Unit()
    cloud.enrol(unit)
    resumed(cloud, ago_ms=1_250)
    cloud.send(unit.schema())
    image = backup(cloud)
    unit.uncertainty_ms = 500
    envelope = unit.data()
    found = []
    for around_ms in (before_ms, after_ms):
        if around_ms is not None:
            unit.uncertainty_ms = around_ms
            cloud.send(unit.check_in())
        cloud.send(envelope)
        found.append(contents(cloud))
        restore(cloud, image)
    assert found[0] == found[1]
    ((_, columns),) = found[0]
    assert [len(column["v"]) for column in columns] == [1, 1], "what lies across the edge is outside"


def test_an_envelope_that_tells_its_time_badly_is_judged_by_what_its_boot_has_said_better(tmp_path: Path) -> None:
    """A minute's doubt would drop all that is near an end: nothing better is lost for that."""
    cloud, unit = Cloud(tmp_path), Unit()
    cloud.enrol(unit)
    resumed(cloud, ago_ms=1_250)
    cloud.send(unit.schema(), unit.check_in())
    unit.uncertainty_ms = 60_000
    cloud.send(unit.data())
    ((_, columns),) = contents(cloud)
    assert [len(column["v"]) for column in columns] == [2, 2]
