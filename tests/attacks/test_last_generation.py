"""A hostile cloud, a lying unit or an owner may name the last generation: nobody is locked out and nothing wraps."""

from __future__ import annotations

from pathlib import Path

import pytest

from carnet.consent import Documents
from carnet.down import GrantSetMessage
from carnet.errors import ConsentError
from carnet.grantsets import GENERATION_MAX, CompiledSet, Floors, compile_set, parse_grant_set
from tests import consentkit as kit
from tests.agent.agentkit import Rig, grants
from tests.cloud.kit import VEHICLE, Cloud, Unit

LEAPS = (2**31 - 1, 2**31, 2**32 - 2, GENERATION_MAX)


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.fixture
def unit(cloud: Cloud) -> Unit:
    unit = Unit()
    cloud.enrol(unit)
    return unit


def generation(cloud: Cloud) -> int:
    with cloud.store.transaction() as t:
        return t.consents.generation(VEHICLE, 1)


def sets(unit: Unit, payloads: list[bytes]) -> list[bytes]:
    """The grant sets among the answers to a unit."""
    return [message.grant_set for message in map(unit.open, payloads) if isinstance(message, GrantSetMessage)]


@pytest.mark.parametrize("leap", LEAPS)
def test_a_leap_silences_until_the_owner_confirms_and_then_everything_goes_on(
    cloud: Cloud, unit: Unit, leap: int
) -> None:
    """A hostile cloud gave the unit this number; the unit names it to the honest one, and is heard."""
    token = cloud.give()
    cloud.send(unit.schema())
    unit.generation = leap
    assert len(sets(unit, cloud.send(unit.check_in()))) == 1
    cloud.send(unit.data())
    assert (cloud.events(), cloud.counters()["behind_floor"]) == ([], 1)
    cloud.consents.confirm(kit.RECORD_ID)
    unit.generation = generation(cloud)
    assert leap < unit.generation or leap == unit.generation == GENERATION_MAX
    (ack,) = unit.acks(cloud.send(unit.data()))
    assert ack.watermark == unit.seq
    assert len(cloud.events()) == 1
    cloud.consents.event(kit.event("withdraw", [token], cloud.clock.ms), kit.RECORD_ID)
    assert cloud.events() == []


@pytest.mark.parametrize("leap", LEAPS)
def test_a_withdrawal_reaches_a_car_that_a_hostile_cloud_has_sent_to_the_end_of_the_numbers(
    cloud: Cloud, unit: Unit, leap: int
) -> None:
    """The car's own floors, and the sets that the honest cloud makes for it."""
    token = cloud.give()
    hostile = kit.grant_set(leap, Documents(kit.OFFER, token))
    car = compile_set(hostile, kit.OWNER, Floors())
    unit.generation = leap
    cloud.send(unit.check_in())
    cloud.consents.event(kit.event("withdraw", [token], cloud.clock.ms), kit.RECORD_ID)
    (data,) = sets(unit, cloud.send(unit.check_in()))
    after = compile_set(parse_grant_set(data), kit.OWNER, car.floors)
    assert (len(car.grants), after.grants) == (1, ())
    assert kit.RECORD_ID in after.floors.ended


def test_a_car_at_the_end_of_the_numbers_stops_collecting_when_its_grant_ends() -> None:
    """The set has the number that it has already, and is another one."""
    rig = Rig(kit.GIVEN_MS + kit.DAY_MS)
    rig.start()
    rig.grant(grants(GENERATION_MAX))
    rig.pass_time(61_000)
    assert rig.identifiers != {"can0": ()}
    rig.grant(grants(GENERATION_MAX, "withdraw"))
    assert rig.identifiers == {"can0": ()}
    assert rig.agent._buffer.handles() == set()


# under the last generation the records' own histories say what is older


def last(*records: Documents, floors: Floors) -> CompiledSet:
    return compile_set(kit.grant_set(GENERATION_MAX, *records), kit.OWNER, floors)


def test_an_older_history_stays_refused_under_the_last_generation() -> None:
    floors = last(kit.documents("pause"), floors=Floors()).floors
    again = last(kit.documents(), floors=floors)
    assert [refused.reason for refused in again.refused] == ["events_rolled_back"]
    assert again.grants == ()


def test_what_has_ended_stays_ended_under_the_last_generation() -> None:
    floors = last(floors=last(kit.documents(), floors=Floors()).floors).floors
    again = last(kit.documents(), floors=floors)
    assert [refused.reason for refused in again.refused] == ["record_ended"]


def test_an_earlier_generation_stays_refused_after_the_last_one() -> None:
    floors = last(kit.documents(), floors=Floors()).floors
    with pytest.raises(ConsentError, match="older"):
        compile_set(kit.grant_set(GENERATION_MAX - 1, kit.documents("pause")), kit.OWNER, floors)


def test_the_number_after_the_last_one_is_the_last_one(cloud: Cloud) -> None:
    with cloud.store.transaction() as t:
        assert t.consents.raise_generation(VEHICLE, 1, above=GENERATION_MAX - 1) == GENERATION_MAX
        assert t.consents.raise_generation(VEHICLE, 1) == GENERATION_MAX
        assert t.consents.raise_generation(VEHICLE, 1, above=GENERATION_MAX) == GENERATION_MAX
