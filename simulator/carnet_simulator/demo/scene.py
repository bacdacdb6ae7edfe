"""What is played: a car with its signals, and two recipients who ask for overlapping things in different precision."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from carnet import canonical, ids
from carnet.errors import CaptureError
from carnet.signals import is_private
from carnet.transforms import LATITUDE, LONGITUDE
from carnet_simulator.dbcs import BUSES, dbc_folder, demo_databases
from carnet_simulator.demo.catalogue import Bus, Name, Signal, describe
from carnet_simulator.frames import drive

SHOP: Final = "repair shop"
INSURER: Final = "insurer"
VIN_PATH: Final = "Vehicle.Private.can0.carnet_demo.Identification.VinCharacters2"
TYRES: Final = [
    f"Vehicle.Chassis.Axle.Row{row}.Wheel.{side}.Tire.Pressure" for row in (1, 2) for side in ("Left", "Right")
]
PADS: Final = [
    f"Vehicle.Chassis.Axle.Row{row}.Wheel.{side}.Brake.PadWear" for row in (1, 2) for side in ("Left", "Right")
]
CAPTURE_PATHS: Final = 8
"""So many signals of a capture are offered."""


@dataclass(frozen=True, slots=True)
class Party:
    """A recipient: its offer and which optional items (by number) the owner chooses."""

    name: str
    id: str
    offer: dict[str, Any]
    choose: tuple[int, ...]
    reference: str

    def items(self) -> list[dict[str, Any]]:
        """What the owner agrees to send: required items and chosen ones."""
        numbered = enumerate(self.offer["items"])
        return [item for number, item in numbered if item["need"] == "required" or number in self.choose]


@dataclass(frozen=True, slots=True)
class Scene:
    """``car``: words after ``carnet-sim``, channels apart. ``markers``: bytes that must be nowhere in the end."""

    title: str
    buses: tuple[Bus, ...]
    signals: tuple[Signal, ...]
    parties: tuple[Party, Party]
    car: tuple[str, ...]
    markers: tuple[bytes, ...]


def simulated_car(seed: int, tenant: str, now_ms: int) -> Scene:
    """The plug-in hybrid of ``carnet-sim drive``."""
    folder = dbc_folder()
    databases = demo_databases()
    buses = tuple(Bus(bus, (folder / dbc,), (_mapping_of(folder / dbc),)) for bus, dbc in BUSES)
    names = [
        Name(bus, Path(dbc).stem, message.name, signal.name, signal.unit or "")
        for (bus, dbc), (_, database) in zip(BUSES, databases, strict=True)
        for message in database.messages
        for signal in message.signals
    ]
    signals = describe(names, [path for bus in buses for path in bus.mapping])
    vin = drive(databases, seed).vehicle.vin
    return Scene(
        title=f"simulated plug-in hybrid, seed {seed}",
        buses=buses,
        signals=signals,
        parties=(_shop(_car_shop_items(), tenant, now_ms), _insurer(_car_insurer_items(), tenant, now_ms)),
        car=("drive", "--seed", str(seed)),
        markers=vin_markers(vin),
    )


def capture(file: Path, buses: tuple[Bus, ...], names: Iterable[Name], speed: str, tenant: str, now_ms: int) -> Scene:
    """Any capture: offers are made of the signals that were seen in it, of those with a name in the specification if
    there are any.
    """
    signals = describe(names, [path for bus in buses for path in bus.mapping])
    known = [signal for signal in signals if not is_private(signal.path)]
    offered = [signal.path for signal in (known or signals) if signal.path not in (LATITUDE, LONGITUDE)]
    if not offered:
        raise CaptureError("capture_empty", f"{file}: these DBCs decode nothing of it; is --match right?")
    shop = [_item(path, {"interval_ms": 1000}) for path in offered[:CAPTURE_PATHS]]
    insurer = [_item(path, {"interval_ms": 5000, "round": "5"}) for path in offered[: CAPTURE_PATHS // 2]]
    return Scene(
        title=f"capture {file.name}",
        buses=buses,
        signals=signals,
        parties=(_shop(shop, tenant, now_ms), _insurer(insurer, tenant, now_ms)),
        car=("replay", str(file), "--loop", "--speed", speed),
        markers=(),
    )


def vin_markers(vin: str) -> tuple[bytes, ...]:
    """A VIN as it could lie in a file: whole, in hexadecimal, as the raw numbers of its frames, and these in digits.

    The first six characters say only who made the car, and in this one they are our own name: they are no marker.
    """
    parts = [vin[6:12].encode(), vin[12:17].encode()]
    digits = [str(int.from_bytes(part, "big")).encode() for part in parts]
    return (vin.encode(), vin.encode().hex().encode(), *parts, *digits)


def offer_bytes(party: Party) -> bytes:
    """The document that is published."""
    return canonical.encode(party.offer)


def _mapping_of(dbc: Path) -> Path:
    return dbc.with_name(dbc.name.removesuffix(".dbc") + ".map.toml")


def _item(path: str, transform: dict[str, object], need: str = "required", delivery: str = "live") -> dict[str, Any]:
    return {"path": path, "need": need, "transform": transform, "class": delivery, "when": []}


def _car_shop_items() -> list[dict[str, Any]]:
    engine = "Vehicle.Powertrain.CombustionEngine"
    return [
        _item("Vehicle.Speed", {"interval_ms": 1000}),
        _item("Vehicle.Diagnostics.DTCCount", {"on_change": True}, delivery="event"),
        _item(f"{engine}.EngineCoolant.Temperature", {}),
        _item(f"{engine}.EngineOil.Temperature", {"interval_ms": 1000}),
        *(_item(path, {"interval_ms": 5000}) for path in PADS),
        *(_item(path, {"dead_band": "1"}, "optional") for path in TYRES),
        _item("Vehicle.TraveledDistance", {"interval_ms": 5000}, "optional"),
        _item(VIN_PATH, {}, "optional"),
    ]


def _car_insurer_items() -> list[dict[str, Any]]:
    return [
        # at once, not in windows of ten seconds: so that the silence after the withdrawal can be seen
        _item("Vehicle.Speed", {"interval_ms": 5000, "round": "5"}, delivery="event"),
        _item("Vehicle.TraveledDistance", {"interval_ms": 5000, "round": "1000"}),
        _item("Vehicle.Acceleration.Longitudinal", {"aggregate": {"window_ms": 5000, "fields": ["min", "max"]}}),
        _item(LATITUDE, {"interval_ms": 5000, "cell_m": 2000}, "optional"),
        _item(LONGITUDE, {"interval_ms": 5000, "cell_m": 2000}, "optional"),
        _item(VIN_PATH, {}, "optional"),
    ]


def _chosen(items: list[dict[str, Any]], refused: frozenset[str]) -> tuple[int, ...]:
    """The optional items that the owner says yes to."""
    numbered = enumerate(items)
    return tuple(n for n, item in numbered if item["need"] == "optional" and item["path"] not in refused)


def _shop(items: list[dict[str, Any]], tenant: str, now_ms: int) -> Party:
    # The owner gives the shop no identity and no odometer.
    choose = _chosen(items, frozenset({VIN_PATH, "Vehicle.TraveledDistance"}))
    purpose = ("dpv:RepairAndMaintenance", "Find out why the brakes squeal, before you bring the car.")
    text = {
        "reveals": "How warm engine and oil are, how worn the brakes are, how fast you drive.",
        "incentive": None,
    }
    return _party(SHOP, "Workshop Oldtown", items, choose, "job 4711", tenant, now_ms, purpose, text)


def _insurer(items: list[dict[str, Any]], tenant: str, now_ms: int) -> Party:
    # Says yes to the VIN, too: what the car's own ceiling forbids does not leave even then.
    choose = _chosen(items, frozenset())
    purpose = ("dpv:ServiceProvision", "Set your premium by how and where the car is driven.")
    text = {
        "reveals": "How fast, how jerkily and in which area you drive, and how far.",
        "incentive": {"kind": "discount", "value": "20 % of the premium", "ends": "with_consent"},
    }
    return _party(INSURER, "Salt Lake Mutual", items, choose, "policy 90210", tenant, now_ms, purpose, text)


def _party(
    name: str,
    recipient_name: str,
    items: list[dict[str, Any]],
    choose: tuple[int, ...],
    reference: str,
    tenant: str,
    now_ms: int,
    purpose: tuple[str, str],
    text: dict[str, Any],
) -> Party:
    recipient = ids.new_id(ids.RECIPIENT, os.urandom)
    offer = {
        "v": 1, "type": "offer", "id": ids.new_id(ids.OFFER, os.urandom), "tenant": tenant, "recipient": recipient,
        "recipient_name": recipient_name, "purpose": {"code": purpose[0], "text": purpose[1]}, "items": items,
        "retention_days": 30, "valid_days": 30, "storage_location": "US", "replay_ms": 0, "created_ms": now_ms, **text,
    }  # fmt: skip
    return Party(name, recipient, offer, choose, reference)
