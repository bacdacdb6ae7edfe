"""There is an answer to "why" for every path and record, from documents alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from carnet.keys import SigningKey
from carnet.signals import Category, Sensitivity
from carnet_cloud.catalogue import Catalogue, Entry
from carnet_cloud.why import SENTENCES
from tests import consentkit as kit
from tests.cloud.kit import NOW_MS, VEHICLE, Cloud, Unit

KNOWN = (
    (kit.ODOMETER, "km", Category.DRIVING, Sensitivity.LOW),
    (kit.SPEED, "km/h", Category.DRIVING, Sensitivity.PERSONAL),
    (kit.IGNITION, "", Category.LOCATION, Sensitivity.LOW),
)


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    cloud = Cloud(tmp_path)
    cloud.enrol(Unit())
    return cloud


def verdict(cloud: Cloud, path: str) -> str:
    with cloud.store.transaction() as t:
        (answer,) = cloud.explain(t, VEHICLE, path, cloud.clock.ms)
    return answer.verdict


def test_what_goes_says_so(cloud: Cloud) -> None:
    cloud.give()
    assert verdict(cloud, kit.SPEED) == "forwarded"


def test_an_item_that_the_owner_did_not_choose_is_the_owners_no(cloud: Cloud) -> None:
    cloud.give(optional=())
    assert verdict(cloud, kit.SPEED) == "owner"
    assert verdict(cloud, kit.ODOMETER) == "forwarded"


def test_an_unknown_path_is_the_catalogues_no(cloud: Cloud) -> None:
    cloud.give()
    assert verdict(cloud, kit.LATITUDE) == "schema"


def test_a_condition_is_never_sent(tmp_path: Path) -> None:
    """Although the catalogue knows it and an item of the grant names it."""
    cloud = Cloud(tmp_path, catalogue=Catalogue([Entry(*each) for each in KNOWN]))
    cloud.enrol(Unit())
    cloud.give(optional=(1,))
    assert verdict(cloud, kit.IGNITION) == "offer"


def test_a_withdrawn_record_is_the_owners_no(cloud: Cloud) -> None:
    token = cloud.give()
    cloud.consents.event(kit.event("withdraw", [token], cloud.clock.ms), kit.RECORD_ID)
    assert verdict(cloud, kit.SPEED) == "owner"


def test_an_expired_record_says_so(cloud: Cloud) -> None:
    cloud.give()
    cloud.clock.ms = NOW_MS + 40 * kit.DAY_MS
    assert verdict(cloud, kit.SPEED) == "expired"


@pytest.mark.parametrize(
    ("mode", "odometer", "speed"),
    [
        ("normal", "forwarded", "forwarded"),
        ("off", "driver", "driver"),
        # the odometer is low and no location; the speed is personal
        ("guest", "forwarded", "driver"),
        # the condition of the speed is a location here
        ("no_location", "forwarded", "driver"),
    ],
)
def test_what_the_driver_keeps_in_the_car_is_the_drivers_no(
    tmp_path: Path, mode: str, odometer: str, speed: str
) -> None:
    """As the unit said when it last checked in."""
    cloud, unit = Cloud(tmp_path, catalogue=Catalogue([Entry(*each) for each in KNOWN])), Unit()
    cloud.enrol(unit)
    cloud.give()
    cloud.send(unit.check_in(mode="off"))
    cloud.send(unit.check_in(b"o" * 16, mode=mode))
    assert (verdict(cloud, kit.ODOMETER), verdict(cloud, kit.SPEED)) == (odometer, speed)


def test_what_one_of_two_units_still_sends_is_not_the_drivers_no(cloud: Cloud) -> None:
    other = Unit(device=bytes(16), key=SigningKey.from_seed(b"e" * 32))
    cloud.enrol(other)
    cloud.give()
    cloud.send(other.check_in(mode="off"), device=other.device)
    assert verdict(cloud, kit.SPEED) == "forwarded"


@pytest.mark.parametrize("state", ["quarantined", "ended"])
def test_a_car_whose_only_unit_is_not_heard_says_why(cloud: Cloud, state: str) -> None:
    """Whoever ended the consent comes first, and the driver of a unit that nobody hears is not asked."""
    token, unit = cloud.give(), Unit()
    cloud.send(unit.check_in(mode="off"))
    with cloud.store.transaction() as t:
        t.devices.set_state(unit.device, state)
    assert verdict(cloud, kit.SPEED) == f"device_{state}"
    cloud.consents.event(kit.event("withdraw", [token], cloud.clock.ms), kit.RECORD_ID)
    assert verdict(cloud, kit.SPEED) == "owner"


def test_one_of_two_units_that_is_heard_is_enough(cloud: Cloud) -> None:
    """Of two that are not, the one that somebody has to decide about is told."""
    other = Unit(device=bytes(16), key=SigningKey.from_seed(b"e" * 32))
    cloud.enrol(other)
    cloud.give()
    with cloud.store.transaction() as t:
        t.devices.set_state(Unit().device, "quarantined")
    assert verdict(cloud, kit.SPEED) == "forwarded"
    with cloud.store.transaction() as t:
        t.devices.set_state(other.device, "ended")
    assert verdict(cloud, kit.SPEED) == "device_quarantined"


def test_the_driver_is_asked_after_everybody_who_ended_it(cloud: Cloud) -> None:
    token = cloud.give()
    cloud.send(Unit().check_in(mode="off"))
    assert verdict(cloud, kit.SPEED) == "driver"
    cloud.consents.event(kit.event("withdraw", [token], cloud.clock.ms), kit.RECORD_ID)
    assert verdict(cloud, kit.SPEED) == "owner"


def test_a_yes_promises_no_more_than_the_cloud_knows() -> None:
    """The ceiling and the quality of a reading are judged in the car, and told by nobody else."""
    assert "as far as the cloud knows" in SENTENCES["forwarded"]
    assert "carnet-agent status" in SENTENCES["forwarded"]
