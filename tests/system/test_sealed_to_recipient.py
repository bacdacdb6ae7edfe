"""The programs that users run, over a real Mosquitto: what is sealed to a recipient is in no file of the cloud but as
ciphertext, and the recipient's command opens it, as a stranger does who has only the documents.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.carnet.test_stranger_recipient import said
from tests.system.road import OFFER, SPEED, Road, until

Columns = list[dict[str, Any]]


@pytest.fixture
def road(tmp_path: Path) -> Iterator[Road]:
    """With an offer whose readings only the workshop's key opens."""
    made = Road(tmp_path)
    try:
        printed = made.ask("carnet.cli", "recipient", "keygen", "--out", "recipient.key").splitlines()[-1]
        made.prepare([{**OFFER, **json.loads(f"{{{printed}}}"), "v": 2}])
        yield made
    finally:
        made.close()


def came(road: Road) -> list[dict[str, Any]]:
    """The events in the recipient's file."""
    path = road.folder / "workshop" / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def opened(road: Road) -> list[Columns]:
    command = ("carnet.cli", "recipient", "open", "--key", "recipient.key", "workshop/events.jsonl")
    return [json.loads(line)["data"]["columns"] for line in road.ask(*command).splitlines()]


@pytest.mark.timeout(180)
def test_frames_become_readings_that_only_the_recipient_can_see(road: Road) -> None:
    road.start_agent()
    until(road.connected, lambda: road.log("agent"))
    road.start_car(3)
    record = road.owner("grant", str(OFFER["id"]))["record"]
    until(lambda: len(came(road)) >= 1, lambda: road.log("agent") + road.log("cloud"))
    assert road.stop("agent") == 0
    until(lambda: bool(confirmed(road)) and confirmed(road)["samples"] == samples(opened(road)))

    events = came(road)
    assert {(event["type"], event["data"]["record"]) for event in events} == {("carnet.sealed.v1", record)}
    ours = opened(road)
    assert {column["path"] for columns in ours for column in columns} == {SPEED}
    assert samples(ours) > 10
    seed = (road.folder / "recipient.key").read_text().partition("seed: ")[2].strip()
    strangers = said("open_events.mjs", seed, road.folder / "workshop" / "events.jsonl")
    assert [each["columns"] for each in strangers] == ours
    (told,) = road.owner("statement")["records"]
    assert told["sealed_to"] == events[0]["data"]["sealed"][0]["kid"]


def confirmed(road: Road) -> dict[str, Any]:
    """What the owner's statement says that the recipient has."""
    (told,) = road.owner("statement")["records"]
    return dict(told["outcomes"].get("confirmed", {})) if set(told["outcomes"]) == {"confirmed"} else {}


def samples(events: list[Columns]) -> int:
    return sum(len(column["v"]) for columns in events for column in columns)
