"""The real agent between a simulated car, a real Mosquitto and the real cloud: from frames to a recipient's file."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.road import OFFER, SPEED, VEHICLE, Road, until


def samples(road: Road) -> int:
    """Readings that the recipient has got, each a speed under the one record."""
    path = road.folder / "workshop" / "events.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    columns = [column for event in events for column in event["data"]["columns"]]
    assert {column["path"] for column in columns} <= {SPEED}
    return sum(len(column["v"]) for column in columns)


@pytest.fixture
def road(tmp_path: Path) -> Iterator[Road]:
    made = Road(tmp_path)
    try:
        made.prepare()
        yield made
    finally:
        made.close()


@pytest.mark.timeout(180)
def test_f20_frames_become_a_recipients_readings_and_sigterm_loses_none(road: Road) -> None:
    """Check-in, acknowledgement, grant set, data, and at the end a flush: all of it by the programs themselves."""
    road.start_agent()
    until(road.connected, lambda: road.log("agent"))
    road.start(
        "car", "carnet_simulator", "drive", "--seed", "3", "--channel", f"can0=multicast:{road.car.ports['can0']}"
    )
    time.sleep(1)
    assert samples(road) == 0, "nobody agreed to anything yet"

    record = road.owner("grant", str(OFFER["id"]))["record"]
    until(lambda: samples(road) > 0, lambda: road.log("agent") + road.log("cloud"))
    assert "status" not in road.log("agent")

    before = samples(road)
    time.sleep(2)
    assert road.stop("agent") == 0
    until(lambda: samples(road) > before, lambda: road.log("agent"))
    facts = road.status()
    assert facts["running"] is False
    assert record.startswith("rec_")
    for path in (road.folder / "agent").rglob("*"):
        assert (
            path.is_dir()
            or VEHICLE.encode() not in path.read_bytes()
            or path.name in {"owner.json", "consent.db", "consent.db-wal"}
        )


@pytest.mark.timeout(180)
def test_a_broker_that_was_away_costs_no_reading(road: Road) -> None:
    """What was collected meanwhile waits in the buffer and goes when the broker is back."""
    road.start_agent()
    until(road.connected, lambda: road.log("agent"))
    road.owner("grant", str(OFFER["id"]))
    road.start(
        "car", "carnet_simulator", "drive", "--seed", "3", "--channel", f"can0=multicast:{road.car.ports['can0']}"
    )
    until(lambda: samples(road) > 0, lambda: road.log("agent") + road.log("cloud"))
    road.broker.kill()
    until(lambda: road.status()["counters"]["rows_waiting"] > 0, lambda: road.log("agent"))
    before = samples(road)
    road.broker.start()
    until(lambda: samples(road) > before, lambda: road.log("agent"))
