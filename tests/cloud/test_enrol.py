"""Enrolling a unit says what is wrong without bad advice, and ending one ends no consent."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from carnet.down import GrantSetMessage
from carnet.enrolment import Enrolment
from carnet.errors import RemoteError
from carnet.ids import device_bytes, device_text
from carnet.keys import SigningKey
from carnet.ownerkeys import sign_addition, sign_removal
from carnet_cloud.api import make_api
from carnet_cloud.consents import Ended
from carnet_cloud.enrol import enrol
from carnet_cloud.furtherkeys import change_keys
from carnet_cloud.push import Pusher
from tests import consentkit as kit
from tests.cloud.kit import DEVICE, KEYS, NOW_MS, VEHICLE, Cloud, Unit
from tests.cloud.test_api import OPERATOR, TOKEN, Client, facts, owned

OTHER_TENANT = "ten_" + "b" * 16


def enrolment(unit: Unit, *owner: bytes) -> bytes:
    """The file that the unit's pairing wrote, with the example owner's key or these."""
    owner = owner or (kit.OWNER_KEY.public,)
    return Enrolment(unit.device, VEHICLE, 1, unit.key.public, unit.receive.public, owner).signed(unit.key)


def other_unit() -> Unit:
    return Unit(device=bytes([9]) * 16, key=SigningKey.from_seed(b"e" * 32), stream=b"streambb")


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    cloud = Cloud(tmp_path)
    enrol(cloud.store, enrolment(Unit()), kit.TENANT, NOW_MS)
    return cloud


@pytest.fixture
def client(cloud: Cloud) -> Client:
    return Client(make_api(cloud.store, cloud.consents, cloud.offers, TOKEN, cloud.clock.now_ms, facts, *cloud.tell))


def refused(cloud: Cloud, what: bytes, tenant: str = kit.TENANT) -> RemoteError:
    with pytest.raises(RemoteError) as refusal:
        enrol(cloud.store, what, tenant, NOW_MS)
    return refusal.value


def end(client: Client, unit: Unit) -> dict[str, object]:
    answer = client.post(f"/v1/devices/{device_text(unit.device)}/end", headers=OPERATOR)
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


@pytest.mark.parametrize("unit", [Unit(), other_unit()], ids=["the same unit", "another unit of the car"])
def test_a_car_of_another_tenant_is_not_paired_anew_for_it(cloud: Cloud, unit: Unit) -> None:
    """That would wipe the unit's buffer and be refused again; what helps is the tenant that it has."""
    refusal = refused(cloud, enrolment(unit), OTHER_TENANT)
    assert refusal.reason == "vehicle_tenant"
    assert "name that one with --tenant" in str(refusal) and kit.TENANT in str(refusal)
    assert "pair it anew" not in str(refusal) and "pair the unit anew" not in str(refusal)


def test_the_same_enrolment_again_changes_nothing_and_other_keys_are_refused(cloud: Cloud) -> None:
    enrol(cloud.store, enrolment(Unit()), kit.TENANT, NOW_MS + 1)
    assert refused(cloud, enrolment(Unit(key=SigningKey.from_seed(b"x" * 32)))).reason == "enrolment_differs"


def test_a_quarantined_unit_is_not_said_to_have_other_keys(cloud: Cloud) -> None:
    with cloud.store.transaction() as t:
        t.devices.set_state(DEVICE, "quarantined")
    enrol(cloud.store, enrolment(Unit()), kit.TENANT, NOW_MS)
    with cloud.store.transaction() as t:
        unit = t.devices.get(DEVICE)
    assert unit is not None and unit.state == "quarantined"


# an owner who has lost his key


BOTH = (kit.OWNER_KEY.public, kit.SECOND_KEY.public)


def keys(cloud: Cloud) -> set[bytes]:
    with cloud.store.transaction() as t:
        return set(t.devices.owner_keys(VEHICLE, 1).values())


def test_another_key_of_the_same_owner_is_pinned_only_if_the_operator_says_that_it_is_he(cloud: Cloud) -> None:
    """Whoever holds the unit's card can write such a file with a key of his own."""
    refusal = refused(cloud, enrolment(Unit(), *BOTH))
    assert (refusal.reason, "--recover" in str(refusal)) == ("epoch_owner", True)
    assert keys(cloud) == {kit.OWNER_KEY.public}
    for _ in range(2):
        enrol(cloud.store, enrolment(Unit(), *BOTH), kit.TENANT, NOW_MS, recover=True)
        assert keys(cloud) == set(BOTH)


def test_with_it_everything_goes_on_and_is_his(cloud: Cloud, client: Client) -> None:
    """What the lost key gave is delivered, and the new one reads the statement and withdraws."""
    record = cloud.give()
    path = f"/v1/enrolments?tenant={kit.TENANT}&recover=true"
    assert client.post(path, content=enrolment(Unit(), *BOTH), headers=OPERATOR).status_code == 201
    unit = Unit()
    cloud.send(unit.schema(), unit.data())
    assert len(cloud.events()) == 1
    ended = cloud.consents.event(kit.event("withdraw", [record], key=kit.SECOND_KEY), kit.RECORD_ID)
    assert isinstance(ended, Ended) and ended.state == "withdrawn"


@pytest.mark.parametrize("unit", [other_unit(), Unit(key=SigningKey.from_seed(b"x" * 32))], ids=["another", "forged"])
def test_only_a_unit_that_is_enrolled_recovers(cloud: Cloud, unit: Unit) -> None:
    with pytest.raises(RemoteError) as refusal:
        enrol(cloud.store, enrolment(unit, *BOTH), kit.TENANT, NOW_MS, recover=True)
    assert refusal.value.reason in {"epoch_owner", "enrolment_differs"}
    assert keys(cloud) == {kit.OWNER_KEY.public}


@pytest.mark.parametrize("others", [(kit.SECOND_KEY.public,), (kit.SECOND_KEY.public, kit.OTHER_KEY.public)])
def test_a_key_beside_which_none_of_the_owners_stands_is_another_owners(
    cloud: Cloud, others: tuple[bytes, ...]
) -> None:
    with pytest.raises(RemoteError, match="new epoch") as refusal:
        enrol(cloud.store, enrolment(Unit(), *others), kit.TENANT, NOW_MS, recover=True)
    assert refusal.value.reason == "epoch_owner"
    assert keys(cloud) == {kit.OWNER_KEY.public}


def test_a_key_that_was_removed_is_not_pinned(cloud: Cloud) -> None:
    """Cars would refuse every grant set that says both."""
    for sign in (sign_addition, sign_removal):
        token = sign(kit.OWNER, kit.SECOND_KEY.public, NOW_MS, kit.OWNER_KEY.secret)
        change_keys(cloud.consents, token, kit.VEHICLE, NOW_MS)
    with pytest.raises(RemoteError) as refusal:
        enrol(cloud.store, enrolment(Unit(), *BOTH), kit.TENANT, NOW_MS, recover=True)
    assert refusal.value.reason == "key_pinned"
    assert keys(cloud) == {kit.OWNER_KEY.public}


def test_a_unit_that_takes_the_place_of_another_needs_the_key_alone_that_is_left(cloud: Cloud) -> None:
    enrol(cloud.store, enrolment(Unit(), *BOTH), kit.TENANT, NOW_MS, recover=True)
    enrol(cloud.store, enrolment(other_unit(), kit.SECOND_KEY.public), kit.TENANT, NOW_MS)
    assert keys(cloud) == set(BOTH)


# a unit that was stolen


def test_nothing_of_an_ended_unit_is_taken_and_it_hears_of_no_consent(cloud: Cloud, client: Client) -> None:
    """With a reason and a counter; what was taken before goes on, and so does the consent."""
    cloud.give()
    stolen = Unit()
    cloud.send(stolen.schema(), stolen.data())
    pusher = Pusher(cloud.store, KEYS.sign, random.Random(1).randbytes)
    pusher.changed(VEHICLE)
    assert [type(stolen.open(payload)) for _, payload in pusher.due(NOW_MS)] == [GrantSetMessage]
    assert end(client, stolen) == {"device": device_text(DEVICE), "vehicle": kit.VEHICLE, "others": 0}
    assert cloud.send(stolen.data(), stolen.check_in()) == []
    assert cloud.counters()["refused_device_ended"] == 2
    pusher.changed(VEHICLE)
    assert pusher.due(NOW_MS) == []
    assert len(cloud.events()) == 1
    path = f"/v1/vehicles/{kit.VEHICLE}/records"
    (record,) = client.get(path, headers=owned(cloud, path)).json()["records"]
    assert (record["state"], record["event_seq"]) == ("given", 0)


def test_why_and_statement_say_that_the_unit_has_ended(cloud: Cloud, client: Client) -> None:
    cloud.give()
    end(client, Unit())
    answers = client.get("/v1/why", params={"path": kit.SPEED}, headers=OPERATOR).json()["answers"]
    assert [answer["verdict"] for answer in answers] == ["device_ended"]
    path = f"/v1/vehicles/{kit.VEHICLE}/statement"
    statement = client.get(path, headers=owned(cloud, path)).json()
    assert statement["units"] == [{"device": device_text(DEVICE), "state": "ended", "ended_ms": cloud.clock.ms}]


def test_another_unit_of_the_car_serves_the_same_consents(cloud: Cloud, client: Client) -> None:
    """Before or after: the owner gives nothing anew."""
    cloud.give()
    end(client, Unit())
    new = other_unit()
    enrol(cloud.store, enrolment(new), kit.TENANT, NOW_MS)
    assert end(client, Unit())["others"] == 1
    cloud.send(new.schema(), new.data(), device=new.device)
    assert len(cloud.events()) == 1


def test_an_ended_unit_stays_ended(cloud: Cloud, client: Client) -> None:
    """Its enrolment does not bring it back, nor does a clone of it; and it ended when it first did."""
    end(client, Unit())
    cloud.clock.ms += 1000
    end(client, Unit())
    refusal = refused(cloud, enrolment(Unit()))
    assert (refusal.reason, "pair the unit anew" in str(refusal)) == ("enrolment_ended", True)
    with cloud.store.transaction() as t:
        assert t.devices.ended_ms(DEVICE) == NOW_MS


def test_only_the_operator_ends_a_unit_and_only_one_that_there_is(client: Client) -> None:
    path = f"/v1/devices/{device_text(DEVICE)}/end"
    assert client.post(path).status_code == 401
    unknown = client.post(f"/v1/devices/{kit.VEHICLE}/end", headers=OPERATOR)
    assert unknown.json()["reason"] == "device_unknown" and "not its vehicle" in unknown.json()["message"]
    assert device_bytes(kit.VEHICLE) != DEVICE
    assert client.post("/v1/devices/x/end", headers=OPERATOR).json()["reason"] == "id_malformed"
