"""There is an answer to "why" for every path and record, from documents alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from carnet.signals import Category, Sensitivity
from carnet_cloud.catalogue import Catalogue, Entry
from tests import consentkit as kit
from tests.cloud.kit import NOW_MS, VEHICLE, Cloud, Unit


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
    known = Catalogue([Entry(kit.IGNITION, "", Category.ENERGY, Sensitivity.LOW)])
    cloud = Cloud(tmp_path, catalogue=known)
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
