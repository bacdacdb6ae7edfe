"""Home Assistant as the recipient: every path of a record becomes a sensor that shows its newest value.

What it shows it finds by MQTT discovery: a retained message describes each sensor, another holds its value. When the
consent has ended both are taken back. A sensor is named by its path and by the recipient's own name for the vehicle,
never by the vehicle's.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from carnet.transforms import AGGREGATE_FIELDS
from carnet_cloud.lease import Lease
from carnet_cloud.recipients.base import Claim, Event, Outcome, Trouble
from carnet_cloud.recipients.mqtt import TIMEOUT_S, MqttLink
from carnet_cloud.recipients.mqttconnection import Broker, Message

UNITS: Final[Mapping[str, tuple[str, str | None]]] = MappingProxyType(
    {
        "A": ("A", "current"),
        "Celsius": ("°C", "temperature"),
        "celsius": ("°C", "temperature"),
        "V": ("V", "voltage"),
        "W": ("W", "power"),
        "degrees": ("°", None),
        "degrees/s": ("°/s", None),
        "kPa": ("kPa", "pressure"),
        "kW": ("kW", "power"),
        "km": ("km", "distance"),
        "km/h": ("km/h", "speed"),
        "l": ("L", "volume_storage"),
        "l/100km": ("L/100 km", None),
        "m": ("m", "distance"),
        "m/s^2": ("m/s²", None),
        "percent": ("%", None),
        "s": ("s", "duration"),
    }
)
"""Unit of VSS -> Home Assistant's spelling, and its device class where it has one. Others are shown as they are."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The newest value of one sensor; ``key`` is its name within the record."""

    record: str
    key: str
    t_ms: int
    config: dict[str, Any]
    state: dict[str, Any]

    @property
    def place(self) -> tuple[str, str]:
        return self.record, self.key


class HomeAssistant:
    """``prefix`` is where Home Assistant looks for sensors, ``topic`` the first words of where their values lie."""

    def __init__(self, broker: Broker, prefix: str, topic: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._link = MqttLink(broker, timeout_s=timeout_s)
        self._prefix = prefix
        self._topic = topic
        self._claim: Claim = _everything
        self._described: set[tuple[str, str]] = set()
        """On this connection: a broker that was away may have lost what it kept."""

    def remember(self, claim: Claim) -> None:
        """See `ForgetfulRecipient.remember`; without it everything is news."""
        self._claim = claim

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:  # noqa: ARG002 - TLS and login say who we are
        """Describe the sensors that are new here and show what is not older than what they show; see `Recipient.send`.

        That is claimed before it is written: one that is never written leaves a sensor as it is, until it comes again.
        """
        if not self._link.is_open:
            self._described.clear()
        readings = self._news(newest(json.loads(event.body)))
        new = {each.place for each in readings} - self._described
        connections = self._link.made
        # nobody has to be listening: the broker keeps what is retained
        outcome = self._link.deliver(list(self._messages(readings)), lease, unheard=Outcome.CONFIRMED)
        if self._link.made != connections:
            # the old one ended between the look at it and the first write
            self._described.clear()
        if outcome is Outcome.CONFIRMED:
            self._described |= new
        return outcome

    def finish(self) -> Outcome:
        """Every answer has come by itself."""
        return Outcome.CONFIRMED

    def forget(self, record: str, paths: Collection[str], lease: Lease) -> bool:
        """Take back every sensor of the record; whether all of it was. An empty message holds nothing of the owner."""
        keys = [_key(path, field) for path in sorted(paths) for field in ("", *AGGREGATE_FIELDS)]
        topics = [topic for key in keys for topic in (self._config_topic(record, key), self._state_topic(record, key))]
        messages = [Message(topic, b"", retain=True) for topic in topics]
        if self._link.deliver(messages, lease, unheard=Outcome.CONFIRMED) is not Outcome.CONFIRMED:
            return False
        self._described = {place for place in self._described if place[0] != record}
        return True

    @property
    def trouble(self) -> Trouble | None:
        return self._link.trouble

    def close(self) -> None:
        self._link.close()

    def _news(self, readings: list[Reading]) -> list[Reading]:
        """Those of an event that are not older than what is shown."""
        if not readings:
            return []
        claimed = self._claim(readings[0].record, {each.key: each.t_ms for each in readings})
        return [each for each in readings if each.key in claimed]

    def _messages(self, readings: list[Reading]) -> Iterator[Message]:
        """What describes a sensor comes before its first value."""
        for each in readings:
            state_topic = self._state_topic(each.record, each.key)
            if each.place not in self._described:
                about = each.config | {"state_topic": state_topic, "json_attributes_topic": state_topic}
                yield Message(self._config_topic(each.record, each.key), _json(about), "application/json", retain=True)
            yield Message(state_topic, _json(each.state), "application/json", retain=True)

    def _config_topic(self, record: str, key: str) -> str:
        return f"{self._prefix}/sensor/carnet_{record}/{key}/config"

    def _state_topic(self, record: str, key: str) -> str:
        return f"{self._topic}/{record}/{key}"


def newest(event: dict[str, Any]) -> list[Reading]:
    """Of every column of an event that has a value its newest one; of columns with one name the newest of all."""
    found: dict[str, Reading] = {}
    for column in event["data"]["columns"]:
        reading = _reading(event, column)
        if reading is not None and (reading.key not in found or found[reading.key].t_ms < reading.t_ms):
            found[reading.key] = reading
    return list(found.values())


def _reading(event: dict[str, Any], column: dict[str, Any]) -> Reading | None:
    at = next((n for n in reversed(range(len(column["v"]))) if column["v"][n] is not None), None)
    if at is None:
        return None
    t_ms, value = column["t_ms"][at], column["v"][at]
    data, key = event["data"], _key(column["path"], column.get("field", ""))
    label = column.get("labels", {}).get(str(round(value)))
    state = {
        "value": value if label is None else label,
        "time": datetime.fromtimestamp(t_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "event": event["id"],
        "record": data["record"],
        "generation": data["generation"],
    }
    return Reading(data["record"], key, t_ms, _config(event, column, key, is_text=label is not None), state)


def _config(event: dict[str, Any], column: dict[str, Any], key: str, *, is_text: bool) -> dict[str, Any]:
    """What Home Assistant has to know of a sensor, but for its topics."""
    record, subject = event["data"]["record"], event["subject"]
    name = column["path"].removeprefix("Vehicle.").replace(".", " ")
    about: dict[str, Any] = {
        "name": f"{name} {column['field']}" if column.get("field") else name,
        "unique_id": f"carnet_{record}_{key}",
        "value_template": "{{ value_json.value }}",
        "device": {"identifiers": [f"carnet_{subject}"], "name": f"Car {subject[:4]}", "manufacturer": "Carnet"},
    }
    if not is_text:
        unit, device_class = UNITS.get(column["unit"], (column["unit"], None))
        if column.get("field") == "count":
            unit, device_class = "", None
        about["state_class"] = "measurement"
        if unit:
            about["unit_of_measurement"] = unit
        if device_class:
            about["device_class"] = device_class
    return about


def _key(path: str, field: str) -> str:
    """A path and a field in the letters that Home Assistant allows."""
    return "__".join((*path.split("."), *([field] if field else [])))


def _everything(_record: str, times_ms: Mapping[str, int]) -> Collection[str]:
    return times_ms


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
