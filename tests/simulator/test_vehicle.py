"""The simulated car: its readings belong together, and its seed decides everything."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import pytest

from carnet_simulator import track
from carnet_simulator.vehicle import STEP_S, Vehicle, make_vin

START_MS = 1_800_000_000_000
MINUTES = 6


@pytest.fixture(scope="module")
def journey() -> list[dict[str, float]]:
    """Every reading of some minutes of driving, stopping and parking."""
    vehicle = Vehicle(Random(1), START_MS)
    return [vehicle.step() for _ in range(int(MINUTES * 60 / STEP_S))]


def test_the_same_seed_gives_the_same_journey() -> None:
    """And another seed another one."""

    def journey_of(seed: int) -> list[dict[str, float]]:
        vehicle = Vehicle(Random(seed), START_MS)
        return [vehicle.step() for _ in range(1500)]

    assert journey_of(5) == journey_of(5)
    assert journey_of(5) != journey_of(6)


def test_the_car_drives_and_stands(journey: list[dict[str, float]]) -> None:
    """A journey without both would test little."""
    speeds = [readings["VehicleSpeed"] for readings in journey]
    assert max(speeds) > 70
    assert sum(speed == 0 for speed in speeds) * STEP_S > 5


def test_the_odometer_is_the_integral_of_speed(journey: list[dict[str, float]]) -> None:
    """To a metre over the whole journey; the trip counts the same metres."""
    driven = sum(readings["VehicleSpeed"] / 3.6 * STEP_S for readings in journey)
    assert driven > 1000
    assert journey[-1]["TraveledDistance"] - journey[0]["TraveledDistance"] == pytest.approx(driven, abs=1)
    assert journey[-1]["TripDistance"] == pytest.approx(driven, abs=1)


def test_the_track_follows_the_odometer(journey: list[dict[str, float]]) -> None:
    """The GNSS position moves as far in ten seconds as the wheels do, along a road that bends."""
    for before, after in zip(journey[::500], journey[500::500], strict=False):
        north = (after["Latitude"] - before["Latitude"]) * 111_320
        east = (after["Longitude"] - before["Longitude"]) * 111_320 * math.cos(math.radians(track.LATITUDE))
        assert math.hypot(east, north) <= after["TripDistance"] - before["TripDistance"] + 3


def test_the_car_stays_on_its_loop(journey: list[dict[str, float]]) -> None:
    """A salt flat, a few kilometres across."""
    for readings in journey:
        assert abs(readings["Latitude"] - track.LATITUDE) < 0.02
        assert abs(readings["Longitude"] - track.LONGITUDE) < 0.04
        assert 0 <= readings["Heading"] < 360


def test_the_loop_is_closed_and_smooth() -> None:
    """One metre further is one metre away, and the heading never jumps."""
    previous = track.place(0.0)
    for metre in range(1, int(track.LOOP_M) + 2):
        place = track.place(float(metre))
        assert math.hypot(place.east_m - previous.east_m, place.north_m - previous.north_m) == pytest.approx(
            1, abs=0.01
        )
        turn = (place.heading_degrees - previous.heading_degrees + 180) % 360 - 180
        assert abs(turn) < 0.3
        previous = place


def test_doors_open_only_while_the_car_stands(journey: list[dict[str, float]]) -> None:
    """In park, unbelted; and it does happen."""
    opened = [readings for readings in journey if readings["DriverDoorOpen"]]
    assert opened
    assert all(readings["VehicleSpeed"] == 0 and readings["CurrentGear"] == 126 for readings in opened)
    assert all(readings["DriverBelted"] == 0 for readings in opened)


def test_acceleration_and_gear_fit_the_speed(journey: list[dict[str, float]]) -> None:
    """No car brakes with more than 1 g; the engine turns neither backwards nor beyond its limit."""
    for readings in journey:
        assert abs(readings["LongitudinalAcceleration"]) < 9.81
        assert 0 <= readings["EngineSpeed"] < 6500
        assert readings["CurrentGear"] in (0, 1, 2, 3, 4, 5, 6, 126)
        assert readings["EngineRunning"] == (readings["EngineSpeed"] > 0)
    assert {1, 2, 3, 4} <= {readings["CurrentGear"] for readings in journey}


def test_driving_costs_energy_and_braking_gives_some_back(journey: list[dict[str, float]]) -> None:
    """Charge falls over the journey, rises while the motor brakes, and fuel only falls."""
    assert journey[-1]["StateOfCharge"] < journey[0]["StateOfCharge"]
    pairs = list(pairwise(journey))
    assert any(after["StateOfCharge"] > before["StateOfCharge"] for before, after in pairs)
    assert all(after["FuelLevel"] <= before["FuelLevel"] for before, after in pairs)
    assert journey[-1]["FuelLevel"] < journey[0]["FuelLevel"]


def test_temperatures_settle(journey: list[dict[str, float]]) -> None:
    """Slowly, and below boiling."""
    coolant = [readings["EngineCoolantTemperature"] for readings in journey]
    assert max(coolant) > coolant[0] + 10
    assert max(coolant) < 100
    assert all(abs(after - before) < 0.1 for before, after in pairwise(coolant))


def test_the_vin_is_no_cars_but_its_check_digit_is_right() -> None:
    """ISO 3779: letters without I, O and Q; the ninth sign makes the weighted sum come out."""
    transliterated = {
        **{str(digit): digit for digit in range(10)},
        "X": 7,
        "A": 1,
        "C": 3,
        "E": 5,
        "M": 4,
        "N": 5,
        "R": 9,
    }
    transliterated |= {"S": 2, "T": 3}
    weights = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2]
    for seed in range(50):
        vin = make_vin(Random(seed))
        assert len(vin) == 17 and not set(vin) & set("IOQ") and vin.startswith("CARNETSM")
        remainder = sum(weight * transliterated[sign] for weight, sign in zip(weights, vin, strict=True)) % 11
        assert vin[8] == ("X" if remainder == 10 else str(remainder))


def test_the_clock_runs_with_the_steps(journey: list[dict[str, float]]) -> None:
    """GNSS time is the start that was handed in plus the steps; nothing is read from the machine."""
    assert journey[0]["UnixTime"] == START_MS + 20
    assert journey[-1]["UnixTime"] == START_MS + MINUTES * 60_000
