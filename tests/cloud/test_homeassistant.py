"""Home Assistant as the recipient: sensors that show the newest value, and are gone when the consent has ended."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mqtt5
import pytest

from carnet.states import EventKind
from carnet_cloud.lease import LEASE_MS
from carnet_cloud.recipients import Event, Outcome
from carnet_cloud.recipients.homeassistant import UNITS, HomeAssistant, newest
from tests import consentkit as kit
from tests.cloud.kit import NOW_MS
from tests.cloud.recipientkit import LIMIT_S, NOW_S, End, Looks, Way, lease, mqtt_end, until

SUBJECT = "aaaabbbbccccddddeeeeffffgg"
VIN = "WVWZZZ1JZXW000001"


@dataclass
class Home:
    """The owner's broker, and what it keeps."""

    end: End

    def adapter(self) -> HomeAssistant:
        return HomeAssistant(self.end.broker, "homeassistant", "carnet", timeout_s=LIMIT_S)

    def kept(self) -> dict[str, dict[str, Any]]:
        """Retained messages by topic: the last one counts, and an empty one is none."""
        found = {beside["topic"]: body for beside, body in self.end.got if beside["retain"] == "True"}
        return {topic: json.loads(body) for topic, body in found.items() if body}

    def described(self) -> list[int]:
        """Which of all messages were descriptions."""
        return [number for number, (beside, _) in enumerate(self.end.got) if beside["topic"].endswith("/config")]

    def states(self) -> dict[str, Any]:
        return {topic: each["value"] for topic, each in self.kept().items() if topic.startswith("carnet/")}


@pytest.fixture
def home() -> Iterator[Home]:
    with mqtt_end() as end:
        yield Home(end)


@pytest.fixture
def adapter(home: Home) -> Iterator[HomeAssistant]:
    with contextlib.closing(home.adapter()) as found:
        yield found


def column(path: str, unit: str, t_ms: list[int], v: list[Any], **more: Any) -> dict[str, Any]:
    return {"path": path, "unit": unit, "transform": {}, "t_ms": t_ms, "v": v, "uncertainty_ms": 1, **more}


def event(*columns: dict[str, Any], number: int = 1) -> Event:
    """An event as `carnet_cloud.rendering` writes it."""
    name = number.to_bytes(16, "big")
    data = {"record": kit.RECORD_ID, "generation": 3, "reference": "", "columns": list(columns)}
    return Event(name, json.dumps({"id": name.hex(), "subject": SUBJECT, "data": data}).encode())


SPEED = f"carnet/{kit.RECORD_ID}/Vehicle__Speed"
ODD = f"carnet/{kit.RECORD_ID}/Vehicle__Odd"


def test_every_path_is_a_sensor_with_its_newest_value(home: Home, adapter: HomeAssistant) -> None:
    """Unit and device class as Home Assistant spells them; the value, its time and the event that it came in."""
    sent = event(
        column("Vehicle.Speed", "km/h", [1000, 2000], [50.0, 52.5]),
        column("Vehicle.Cabin.Door.IsOpen", "", [1000], [1], labels={"0": "closed", "1": "open"}),
        column("Vehicle.Speed", "km/h", [1500], [9], field="max"),
        column("Vehicle.Odd", "furlong", [1], [3]),
        column("Vehicle.Nothing", "V", [1000], [None]),
    )
    assert adapter.send(sent, lease(), NOW_S) is Outcome.CONFIRMED
    kept = home.kept()
    assert kept[SPEED] == {
        "value": 52.5, "time": "1970-01-01T00:00:02.000+00:00", "event": "0" * 31 + "1",
        "record": kit.RECORD_ID, "generation": 3,
    }  # fmt: skip
    assert kept[f"homeassistant/sensor/carnet_{kit.RECORD_ID}/Vehicle__Speed/config"] == {
        "name": "Speed", "unique_id": f"carnet_{kit.RECORD_ID}_Vehicle__Speed",
        "value_template": "{{ value_json.value }}", "state_topic": SPEED, "json_attributes_topic": SPEED,
        "device": {"identifiers": [f"carnet_{SUBJECT}"], "name": "Car aaaa", "manufacturer": "Carnet"},
        "state_class": "measurement", "unit_of_measurement": "km/h", "device_class": "speed",
    }  # fmt: skip
    assert home.states() == {
        SPEED: 52.5, f"{SPEED}__max": 9, f"carnet/{kit.RECORD_ID}/Vehicle__Cabin__Door__IsOpen": "open",
        f"carnet/{kit.RECORD_ID}/Vehicle__Odd": 3,
    }  # fmt: skip
    door = kept[f"homeassistant/sensor/carnet_{kit.RECORD_ID}/Vehicle__Cabin__Door__IsOpen/config"]
    assert "state_class" not in door
    assert "device_class" not in kept[f"homeassistant/sensor/carnet_{kit.RECORD_ID}/Vehicle__Odd/config"]


def test_the_cars_own_number_stands_in_no_name(home: Home, adapter: HomeAssistant) -> None:
    """Not even where the owner has granted it: it is a value then, and nothing else."""
    path = "Vehicle.VehicleIdentification.Year"
    assert adapter.send(event(column(path, "", [1], [int(VIN[-6:])])), lease(), NOW_S) is Outcome.CONFIRMED
    names = [beside["topic"] for beside, _ in home.end.got]
    about = [json.dumps(each) for topic, each in home.kept().items() if topic.endswith("/config")]
    assert all(VIN[-6:] not in text and kit.VEHICLE not in text for text in [*names, *about])


def test_an_older_event_does_not_turn_a_sensor_back(home: Home, adapter: HomeAssistant, tmp_path: Path) -> None:
    """Events come in no promised order."""
    Way(tmp_path / "way", adapter, 0)
    for number, (t_ms, value) in enumerate([(5000, 5), (3000, 3), (6000, 6), (5500, 4)]):
        sent = event(column("Vehicle.Speed", "km/h", [t_ms], [value]), number=number)
        assert adapter.send(sent, lease(), NOW_S) is Outcome.CONFIRMED
    assert home.states() == {SPEED: 6}
    assert [json.loads(body)["value"] for beside, body in home.end.got if beside["topic"] == SPEED] == [5, 6]


def test_nor_after_a_restart_or_from_another_receiver(home: Home, tmp_path: Path) -> None:
    """What is shown stands in the store. The same event once more is no older one."""
    with contextlib.ExitStack() as all_of_them:
        first, *others = [all_of_them.enter_context(contextlib.closing(home.adapter())) for _ in range(3)]
        way = Way(tmp_path / "way", first, 0)
        newer = event(column("Vehicle.Speed", "km/h", [5000], [5]), column("Vehicle.Odd", "", [1000], [1]))
        assert first.send(newer, lease(), NOW_S) is Outcome.CONFIRMED
        for number, other in enumerate(others, start=2):
            way.forwarder_of(other, b"sender%02d" % number)
            older = event(column("Vehicle.Speed", "km/h", [4999], [4]), column("Vehicle.Odd", "", [2000], [2]))
            assert other.send(older, lease(), NOW_S) is Outcome.CONFIRMED
            assert home.states() == {SPEED: 5, ODD: 2}
        home.end.got.clear()
        assert others[0].send(newer, lease(), NOW_S) is Outcome.CONFIRMED
        assert home.states() == {SPEED: 5}


def test_of_one_record_one_receiver_at_a_time_sends(home: Home, adapter: HomeAssistant, tmp_path: Path) -> None:
    """Or the older of two values could reach the broker behind the newer one. Another record waits for nobody."""
    way = Way(tmp_path / "way", adapter, 2)
    with way.cloud.store.transaction() as t:
        (there, _) = t.outbox.due(kit.RECIPIENT, b"receiver", way.cloud.clock.ms, 2)
        t.outbox.lease([there.event_id], b"receiver", way.cloud.clock.ms + LEASE_MS)
        t.shards.live(b"receiver", 2**52)
    assert not way.forwarder.step(kit.RECIPIENT)
    way.cloud.clock.ms += 1
    way.cloud.give(id=kit.OTHER_RECORD_ID)
    way.cloud.send(way.unit.data(records=(kit.OTHER_RECORD_ID,)))
    # of one event at a time: what has to wait takes nobody's place
    way.forwarder._sizes[kit.RECIPIENT] = 1
    assert way.forwarder.step(kit.RECIPIENT)
    assert {topic.split("/")[1] for topic in home.states()} == {kit.OTHER_RECORD_ID}
    assert not way.forwarder.step(kit.RECIPIENT)
    way.cloud.clock.ms += LEASE_MS - 1
    assert way.forwarder.step(kit.RECIPIENT)
    assert way.outcomes() == {"confirmed": 1, "queued": 1}


def test_what_is_shown_of_a_consent_that_has_ended_is_kept_nowhere(
    home: Home, adapter: HomeAssistant, tmp_path: Path
) -> None:
    way = Way(tmp_path / "way", adapter, 1)
    assert way.forwarder.step(kit.RECIPIENT)
    assert way.cloud.ask("select count(*) from shown") == (2,)
    way.withdraw()
    assert way.forwarder.step(kit.RECIPIENT)
    assert way.cloud.ask("select count(*) from shown") == (0,)


def test_a_sensor_is_described_once_a_connection(home: Home, adapter: HomeAssistant) -> None:
    """A broker that was away may have lost what it kept."""
    home.end.answers = ["take", "take", "take", "goodbye"]
    for number in range(4):
        assert adapter.send(speed(number), lease(), NOW_S) is Outcome.CONFIRMED
        if number == 2:
            until(lambda: not adapter._link.is_open)
    assert home.described() == [0, 4]


def test_a_connection_that_ends_right_before_the_first_write_is_made_up_for_by_the_next_event(
    home: Home, adapter: HomeAssistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at it and the write: the value goes through a new one, on which nothing is described yet."""
    home.end.answers = ["take", "goodbye"]
    assert adapter.send(speed(0), lease(), NOW_S) is Outcome.CONFIRMED
    until(lambda: not adapter._link.is_open)
    looks = iter([True])
    with monkeypatch.context() as patch:
        patch.setattr(type(adapter._link), "is_open", property(lambda _: next(looks, False)))
        assert adapter.send(speed(1), lease(), NOW_S) is Outcome.CONFIRMED
    for number in (2, 3):
        assert adapter.send(speed(number), lease(), NOW_S) is Outcome.CONFIRMED
    assert home.described() == [0, 3]


def speed(number: int) -> Event:
    return event(column("Vehicle.Speed", "km/h", [number], [number]), number=number)


def test_a_lease_that_is_cut_at_any_moment_shows_nothing_more(home: Home) -> None:
    """What has come by then has come; the same event comes again whole."""
    columns = [column(f"Vehicle.S{n}", "km/h", [1], [n]) for n in range(5)]
    for at in range(12):
        with contextlib.closing(home.adapter()) as adapter:
            under = Looks(at)
            assert adapter.send(event(*columns), under, NOW_S) is Outcome.CUT
            assert adapter.send(event(*columns), lease(), NOW_S) is Outcome.CONFIRMED
    assert len(home.states()) == 5


def test_a_broker_that_keeps_nothing_gets_nothing() -> None:
    """The sensors would be gone with the next start of Home Assistant, and could not be taken back."""
    with mqtt_end(mqtt5.ConnAckPacket(retain_available=False)) as end:
        with contextlib.closing(Home(end).adapter()) as adapter:
            sent = event(column("Vehicle.Speed", "km/h", [1], [1]))
            assert adapter.send(sent, lease(), NOW_S) is Outcome.RETRY
        assert end.got == []


# endings


def test_a_withdrawal_takes_every_sensor_back(home: Home, adapter: HomeAssistant, tmp_path: Path) -> None:
    """Description and value; and with them nothing of the owner is sent."""
    way = Way(tmp_path / "way", adapter, 3)
    assert way.forwarder.step(kit.RECIPIENT)
    assert len(home.kept()) == 4
    before = len(home.end.got)
    way.withdraw()
    assert way.forwarder.step(kit.RECIPIENT)
    assert home.kept() == {}
    assert {body for _, body in home.end.got[before:]} == {b""}
    assert not way.forwarder.step(kit.RECIPIENT)
    assert way.outcomes() == {"confirmed": 3}


def test_a_withdrawal_takes_back_what_an_aggregate_has_shown(
    home: Home, adapter: HomeAssistant, tmp_path: Path
) -> None:
    """A sensor for each of its fields."""
    way = Way(tmp_path / "way", adapter, 1)
    assert way.forwarder.step(kit.RECIPIENT)
    plain = len(home.kept())
    fields = ("min", "max", "mean", "count", "first", "last", "sum")
    sent = event(*(column(kit.SPEED, "km/h", [1], [1], field=field) for field in fields))
    assert adapter.send(sent, lease(), NOW_S) is Outcome.CONFIRMED
    assert len(home.kept()) == plain + 2 * len(fields)
    way.withdraw()
    assert way.forwarder.step(kit.RECIPIENT)
    assert home.kept() == {}


HOME_ASSISTANT = {
    "current": {"A", "mA"}, "distance": {"km", "m", "cm", "mi"}, "duration": {"d", "h", "min", "s", "ms"},
    "power": {"W", "kW", "MW"}, "pressure": {"Pa", "hPa", "kPa", "bar", "mbar", "psi"},
    "speed": {"km/h", "m/s", "mph", "kn"}, "temperature": {"°C", "°F", "K"}, "voltage": {"V", "mV"},
    "volume_storage": {"L", "mL", "m³", "gal"},
}  # fmt: skip
"""Device class -> units that Home Assistant takes with it, from its documentation of sensors."""


SPELT = (
    ("A", "A", "current"),
    ("Celsius", "°C", "temperature"),
    ("celsius", "°C", "temperature"),
    ("V", "V", "voltage"),
    ("W", "W", "power"),
    ("kW", "kW", "power"),
    ("degrees", "°", None),
    ("degrees/s", "°/s", None),
    ("kPa", "kPa", "pressure"),
    ("km", "km", "distance"),
    ("m", "m", "distance"),
    ("km/h", "km/h", "speed"),
    ("l", "L", "volume_storage"),
    ("l/100km", "L/100 km", None),
    ("m/s^2", "m/s²", None),
    ("percent", "%", None),
    ("s", "s", "duration"),
    ("rpm", "rpm", None),
)  # fmt: skip
"""Unit of VSS, as Home Assistant writes it, and its device class there."""


@pytest.mark.parametrize(("unit", "shown", "device_class"), SPELT)
def test_a_unit_is_spelt_as_home_assistant_knows_it(
    home: Home, adapter: HomeAssistant, unit: str, shown: str, device_class: str | None
) -> None:
    """With a class that goes with it; how many there were of an aggregate has neither."""
    sent = event(column("Vehicle.X", unit, [1], [1]), column("Vehicle.X", unit, [1], [4], field="count"))
    assert adapter.send(sent, lease(), NOW_S) is Outcome.CONFIRMED
    about = {topic.split("/")[-2]: each for topic, each in home.kept().items() if topic.endswith("/config")}
    sensor, count = about["Vehicle__X"], about["Vehicle__X__count"]
    assert (sensor["unit_of_measurement"], sensor.get("device_class")) == (shown, device_class)
    assert device_class is None or shown in HOME_ASSISTANT[device_class]
    assert "unit_of_measurement" not in count and "device_class" not in count


def test_every_unit_that_has_a_spelling_is_among_them() -> None:
    """Or the test above would say nothing of a new one."""
    assert set(UNITS) == {unit for unit, _, _ in SPELT} - {"rpm"}


def test_it_waits_for_nothing_else_that_is_due(home: Home, adapter: HomeAssistant, tmp_path: Path) -> None:
    """There may always be something, of other cars."""
    way = Way(tmp_path / "way", adapter, 1)
    assert way.forwarder.step(kit.RECIPIENT)
    way.cloud.give(id=kit.OTHER_RECORD_ID)
    way.cloud.send(way.unit.data(records=(kit.OTHER_RECORD_ID,)))
    way.withdraw()
    assert way.forwarder.step(kit.RECIPIENT)
    assert home.kept() == {}
    assert way.forwarder.step(kit.RECIPIENT)
    assert len(home.states()) == 2


def test_so_does_an_expiry_that_nobody_announces(home: Home, adapter: HomeAssistant, tmp_path: Path) -> None:
    way = Way(tmp_path / "way", adapter, 1)
    assert way.forwarder.step(kit.RECIPIENT)
    way.cloud.clock.ms = NOW_MS + 400 * kit.DAY_MS
    assert way.forwarder.step(kit.RECIPIENT)
    assert home.kept() == {}


def test_a_pause_leaves_the_last_value_where_it_is(home: Home, adapter: HomeAssistant, tmp_path: Path) -> None:
    """Nothing newer comes; the owner may resume."""
    way = Way(tmp_path / "way", adapter, 1)
    assert way.forwarder.step(kit.RECIPIENT)
    way.cloud.consents.event(kit.event("pause", [way.token], way.cloud.clock.ms), kit.RECORD_ID)
    assert not way.forwarder.step(kit.RECIPIENT)
    assert len(home.states()) == 2


def test_a_home_that_was_away_forgets_when_it_is_back_also_after_a_restart(home: Home, tmp_path: Path) -> None:
    """The store knows what has to be taken back; each try waits its time."""
    with contextlib.closing(home.adapter()) as adapter:
        way = Way(tmp_path / "way", adapter, 1)
        assert way.forwarder.step(kit.RECIPIENT)
    way.withdraw()
    home.end.answers = ["close"]
    with contextlib.closing(home.adapter()) as adapter:
        forwarder = way.forwarder_of(adapter, b"sender02")
        assert not forwarder.step(kit.RECIPIENT)
        assert home.states() != {}
        assert not forwarder.step(kit.RECIPIENT)
        way.cloud.clock.ms += 10_000
        assert forwarder.step(kit.RECIPIENT)
        assert home.kept() == {}
        assert not forwarder.step(kit.RECIPIENT)


def test_what_is_still_on_its_way_when_a_consent_expires_is_taken_back_too(
    home: Home, adapter: HomeAssistant, tmp_path: Path
) -> None:
    """Another receiver waits for an answer: until what became of it is written nobody knows what to take back."""
    way = Way(tmp_path / "way", adapter, 1)
    with way.cloud.store.transaction() as t:
        (late,) = t.outbox.due(kit.RECIPIENT, b"receiver", way.cloud.clock.ms, 1)
        t.outbox.lease([late.event_id], b"receiver", way.cloud.clock.ms + 400)
        t.shards.live(b"receiver", 2**52)
    assert adapter.send(event(column(kit.SPEED, "km/h", [1], [1])), lease(), NOW_S) is Outcome.CONFIRMED
    way.cloud.clock.ms = NOW_MS + 400 * kit.DAY_MS
    assert not way.forwarder.step(kit.RECIPIENT)
    assert len(home.kept()) == 2
    with way.cloud.store.transaction() as t:
        t.outbox.confirm([late.event_id], b"receiver", way.cloud.clock.ms)
    assert way.forwarder.step(kit.RECIPIENT)
    assert home.kept() == {}


@pytest.mark.parametrize("kind", [EventKind.INVALIDATE, EventKind.TERMINATE])
def test_what_another_receiver_has_in_the_air_when_a_consent_ends_at_once_is_waited_for(
    home: Home, adapter: HomeAssistant, tmp_path: Path, kind: EventKind
) -> None:
    """These ends have no state before them in which something drains; what is written last would be shown for ever."""
    way = Way(tmp_path / "way", adapter, 1)
    with way.cloud.store.transaction() as t:
        (late,) = t.outbox.due(kit.RECIPIENT, b"receiver", way.cloud.clock.ms, 1)
        t.outbox.lease([late.event_id], b"receiver", way.cloud.clock.ms + LEASE_MS)
        t.shards.live(b"receiver", 2**52)
    told: list[bool] = []

    def pause() -> None:
        told.append(way.forwarder.step(kit.RECIPIENT))
        way.cloud.clock.pause()

    way.cloud.consents._waits = replace(way.cloud.consents._waits, pause=pause)
    way.cloud.consents.operate(kit.RECORD_ID, kind, "test")
    assert set(told) == {False}
    way.cloud.clock.ms += LEASE_MS
    assert adapter.send(event(column(kit.SPEED, "km/h", [1], [1])), lease(), NOW_S) is Outcome.CONFIRMED
    assert way.forwarder.step(kit.RECIPIENT)
    assert home.kept() == {}


def test_so_is_what_it_has_refused_in_part(home: Home, adapter: HomeAssistant, tmp_path: Path) -> None:
    """Of several messages a broker may take some and find fault with one."""
    way = Way(tmp_path / "way", adapter, 1)
    with way.cloud.store.transaction() as t:
        (first,) = t.outbox.due(kit.RECIPIENT, b"sender01", way.cloud.clock.ms, 1)
        t.outbox.lease([first.event_id], b"sender01", way.cloud.clock.ms + 400)
        t.outbox.refuse([first.event_id], b"sender01", way.cloud.clock.ms)
    assert adapter.send(event(column(kit.SPEED, "km/h", [1], [1])), lease(), NOW_S) is Outcome.CONFIRMED
    way.withdraw()
    assert way.forwarder.step(kit.RECIPIENT)
    assert home.kept() == {}


def test_of_columns_with_one_name_the_newest_counts() -> None:
    """Two items of one path, say."""
    body = json.loads(event(column("Vehicle.Speed", "km/h", [9], [9]), column("Vehicle.Speed", "km/h", [5], [5])).body)
    assert [each.state["value"] for each in newest(body)] == [9]
