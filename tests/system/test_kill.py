"""kill -9 of agent, broker and receiver at random, twenty times in 1,500 envelopes: nothing lost, nothing doubled.

Everything is a real process. Of what a killed agent had not yet written, no more is missing than the loss bound
allows: the frames that came while it was away, and at most ten seconds of the open background window. A process kill
is no power cut: what the programs had written is still there.
"""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.system.mosquitto import PLAIN, Mosquitto
from tests.system.road import OFFER, Road, until
from tests.system.tally import BUSES, PERIOD_S, SLOW_EVERY, SLOW_PATH, Tally, fast_path, make_car

SEED: Final = 128
"""With it one agent lives longer than a checkpoint takes, and the next ones much shorter."""
KILLS: Final = ("agent",) * 6 + ("broker",) * 7 + ("cloud",) * 7
ENVELOPES: Final = 1500
PAUSE_S: Final = (0.6, 1.8)
AWAY_S_MAX: Final = 0.6
LIMIT_S: Final = 90.0
CHECKPOINT_S: Final = 10.0
DRAIN_S: Final = 1.0
"""Two drains of the bus, on a busy machine."""
CLOCK_S: Final = 2.0
"""The unit's wall time is surely known as well as that."""
START_S: Final = 8.0
"""An agent that was started reads again after so long, on a busy machine."""
KEPT = PLAIN + "autosave_interval 1\n"
FORGOTTEN = PLAIN.replace("persistence true\npersistence_location {folder}/\n", "persistence false\n")
ITEMS = [
    *({"path": fast_path(bus), "need": "required", "transform": {}, "class": "event", "when": []} for bus in BUSES),
    {"path": SLOW_PATH, "need": "required", "transform": {}, "class": "background", "when": []},
]


@dataclass
class Ordeal:
    """What was done and what came of it."""

    sent: dict[str, list[float]]
    """Path -> time.monotonic() of every number that the car sent."""
    agent_away: list[tuple[float, float]] = field(default_factory=list)
    """time.monotonic() of the kill and of the start after it."""
    kills: Counter[str] = field(default_factory=Counter)
    forgetful_starts: int = 0
    """How often the broker came back with nothing of what it had."""
    events: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    health: dict[str, Any] = field(default_factory=dict)
    cloud: dict[str, Any] = field(default_factory=dict)

    def numbers(self, path: str) -> list[int]:
        """What the recipient has of a path."""
        columns = [column for event in self.events for column in event["data"]["columns"] if column["path"] == path]
        return sorted(value for column in columns for value in column["v"])

    def missing(self, path: str) -> list[int]:
        """What the car sent and the recipient has not."""
        return sorted(set(range(len(self.sent[path]))) - set(self.numbers(path)))


@pytest.fixture(scope="module")
def ordeal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ordeal]:
    folder = tmp_path_factory.mktemp("kill")
    brokers = [Mosquitto(make(folder / "kept"), KEPT)]
    brokers.append(Mosquitto(make(folder / "forgotten"), FORGOTTEN, brokers[0].port))
    road = Road(folder, make_car(folder), brokers[0])
    try:
        road.prepare([{**OFFER, "items": ITEMS}])
        road.start_agent()
        until(road.connected, lambda: road.log("agent"))
        road.owner("grant", str(OFFER["id"]))
        until(lambda: listening(road), lambda: told(road))
        # readings whose time cannot be told from that of the grant are denied, as they must be
        time.sleep(CLOCK_S)
        with Tally(road.car) as tally:
            found = Ordeal(tally.sent)
            torment(road, brokers, found, random.Random(SEED))
        settle(road, found)
        yield found
    finally:
        road.close()


def listening(road: Road) -> bool:
    """Whether the agent has the grant and hears every bus."""
    facts = road.facts()
    buses = facts.get("buses", {})
    return bool(facts.get("in_force")) and len(buses) == len(BUSES) and all(not b["fault"] for b in buses.values())


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def torment(road: Road, brokers: list[Mosquitto], found: Ordeal, chance: random.Random) -> None:
    """Kill and start again, one after the other, until all kills are done and enough envelopes were made."""
    victims = list(KILLS)
    chance.shuffle(victims)
    end = time.monotonic() + LIMIT_S
    for victim in victims:
        time.sleep(chance.uniform(*PAUSE_S))
        found.kills[victim] += 1
        killed = time.monotonic()
        if victim == "broker":
            road.broker.kill()
            # with its store as it was last written, or with nothing at all
            road.broker = chance.choice(brokers)
            found.forgetful_starts += road.broker is brokers[-1]
            time.sleep(chance.uniform(0, AWAY_S_MAX))
            road.broker.start()
            continue
        road.kill(victim)
        time.sleep(chance.uniform(0, AWAY_S_MAX))
        if victim == "agent":
            road.start_agent()
            found.agent_away.append((killed, time.monotonic()))
        else:
            road.start_cloud()
    while road.facts().get("last_seq", 0) < ENVELOPES:
        assert time.monotonic() < end, f"the agent makes too few envelopes: {told(road)}"
        time.sleep(0.2)


def settle(road: Road, found: Ordeal) -> None:
    """Stop the unit as its owner would, start it once more to send the rest, and look at everything."""
    road.stop("agent")
    road.start_agent()
    until(lambda: road.facts().get("counters", {}).get("rows_waiting", 1) == 0, lambda: told(road), LIMIT_S)
    until(lambda: quiet(road.health()), lambda: told(road), LIMIT_S)
    found.facts, found.health = road.facts(), road.health()
    road.stop("agent")
    road.stop("cloud")
    lines = (road.folder / "workshop" / "events.jsonl").read_text().splitlines()
    found.events = [json.loads(line) for line in lines]
    with sqlite3.connect(road.folder / "store" / "cloud.db") as store:
        for name in ("stream", "delivery", "held", "named_gap", "block"):
            cursor = store.execute(f"select * from {name}")
            names = [each[0] for each in cursor.description]
            found.cloud[name] = [dict(zip(names, row, strict=True)) for row in cursor]


def told(road: Road) -> str:
    """What agent and cloud say, for whoever has to find out why a run did not end."""
    states = {name: program.poll() for name, program in road.programs.items()}
    return f"{states} {road.silence} {road.facts()} {road.health()} {road.log('agent')} {road.log('cloud')}"


def quiet(health: dict[str, Any]) -> bool:
    """Whether every event has been handed over."""
    outbox = health.get("outbox", {"": 1})
    return set(outbox) <= {"confirmed"}


@pytest.mark.timeout(200)
def test_everybody_was_killed_and_enough_was_made(ordeal: Ordeal) -> None:
    assert ordeal.kills.total() == 20 and min(ordeal.kills.values()) >= 5
    assert ordeal.facts["last_seq"] >= ENVELOPES


def test_f7_every_envelope_arrived_and_is_one_event(ordeal: Ordeal) -> None:
    """0 lost: one stream, its watermark at the head, no number given up, nothing waiting, each delivery confirmed."""
    (stream,) = ordeal.cloud["stream"]
    assert stream["watermark"] == ordeal.facts["last_seq"]
    assert stream["stream"].hex() == ordeal.facts["stream"]
    assert ordeal.cloud["named_gap"] == ordeal.cloud["held"] == ordeal.cloud["block"] == []
    outcomes = Counter(delivery["outcome"] for delivery in ordeal.cloud["delivery"])
    assert outcomes == {"confirmed": len(ordeal.events)}
    assert {delivery["event_id"].hex() for delivery in ordeal.cloud["delivery"]} == {e["id"] for e in ordeal.events}


def test_f8_a_broker_that_came_back_with_nothing_cost_nothing(ordeal: Ordeal) -> None:
    """It is no part of the session: what it lost between two programs comes again, and no number is given up."""
    assert 2 <= ordeal.forgetful_starts < ordeal.kills["broker"]
    (stream,) = ordeal.cloud["stream"]
    assert stream["watermark"] == ordeal.facts["last_seq"]
    assert ordeal.cloud["named_gap"] == []


def test_f7_no_event_and_no_reading_came_twice(ordeal: Ordeal) -> None:
    """0 doubled: every event id once in the recipient's file, every number once."""
    ids = Counter(event["id"] for event in ordeal.events)
    assert [name for name, count in ids.items() if count > 1] == []
    for path in ordeal.sent:
        numbers = Counter(ordeal.numbers(path))
        assert [number for number, count in numbers.items() if count > 1] == []
    samples = sum(delivery["samples"] for delivery in ordeal.cloud["delivery"])
    assert samples == sum(len(ordeal.numbers(path)) for path in ordeal.sent) > ENVELOPES


def test_f7_only_a_killed_agent_loses_and_no_more_than_the_bound(ordeal: Ordeal) -> None:
    """What is missing lies around a kill of the agent: while it was away, and what its open window held before."""
    for path, times in ordeal.sent.items():
        bound_s = CHECKPOINT_S + DRAIN_S if path == SLOW_PATH else DRAIN_S
        missing = ordeal.missing(path)
        assert missing, "the kills did not cost what they must cost: were the frames sent?"
        unexplained = [
            number
            for number in missing
            if not any(killed - bound_s <= times[number] <= begun + START_S for killed, begun in ordeal.agent_away)
        ]
        assert unexplained == [], f"{path}: missing, and nobody killed the agent"


def test_checkpoints_save_what_a_killed_agent_had_collected(ordeal: Ordeal) -> None:
    """Readings of the background window that was open at a kill came all the same, as far as a checkpoint had them."""
    first_kill, last_kill = ordeal.agent_away[0][0], ordeal.agent_away[-1][0]
    times = ordeal.sent[SLOW_PATH]
    saved = [number for number in ordeal.numbers(SLOW_PATH) if first_kill < times[number] < last_kill]
    assert len(saved) > CHECKPOINT_S / (PERIOD_S * SLOW_EVERY) / 2
