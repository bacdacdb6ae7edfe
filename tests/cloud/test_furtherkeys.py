"""Further keys of an owner: an added one gives and withdraws, a removed one only narrows, a pinned one decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from carnet import jws
from carnet.consent import compile_set, parse_grant_set, sign_addition, sign_removal
from carnet.errors import RemoteError, UnavailableError
from carnet.grantsets import Floors
from carnet.ids import format_id
from carnet.keys import SigningKey
from carnet_cloud.api import make_api
from carnet_cloud.consents import Ended
from carnet_cloud.furtherkeys import change_keys
from carnet_cloud.grantsets import grant_set_bytes
from carnet_cloud.store import Transaction
from tests import consentkit as kit
from tests.attacks.test_operator_attacks import Full
from tests.cloud.kit import VEHICLE, Cloud, Unit
from tests.cloud.test_api import TOKEN, Client, facts, owned

HERS = format_id("rec_", b"of her key")


@pytest.fixture
def unit() -> Unit:
    return Unit()


@pytest.fixture
def cloud(tmp_path: Path, unit: Unit) -> Cloud:
    cloud = Cloud(tmp_path)
    cloud.enrol(unit)
    cloud.offers.publish(kit.OFFER)
    return cloud


def addition(cloud: Cloud, signer: SigningKey = kit.OWNER_KEY, late_ms: int = 0) -> str:
    return sign_addition(kit.OWNER, kit.SECOND_KEY.public, cloud.clock.ms + late_ms, signer.secret)


def removal(cloud: Cloud, signer: SigningKey = kit.OWNER_KEY) -> str:
    return sign_removal(kit.OWNER, kit.SECOND_KEY.public, cloud.clock.ms, signer.secret)


def change(cloud: Cloud, token: str) -> list[str]:
    return change_keys(cloud.consents, token, kit.VEHICLE, cloud.clock.ms)


def hers(cloud: Cloud) -> str:
    """A record that the second key has given."""
    token = kit.token(id=HERS, key=kit.SECOND_KEY)
    cloud.consents.give(token, kit.VEHICLE)
    return token


def reason(cloud: Cloud, token: str) -> str:
    with pytest.raises(RemoteError) as refused:
        change(cloud, token)
    return refused.value.reason


def state(cloud: Cloud, record: str = HERS) -> str:
    with cloud.store.transaction() as t:
        stored = t.consents.record(record)
    assert stored is not None
    return stored.state


def generation(cloud: Cloud) -> int:
    with cloud.store.transaction() as t:
        return t.consents.generation(VEHICLE, 1)


def test_an_added_key_gives_and_withdraws(cloud: Cloud, unit: Unit) -> None:
    with pytest.raises(RemoteError, match="not the owner's"):
        hers(cloud)
    assert change(cloud, addition(cloud)) == []
    token = hers(cloud)
    cloud.send(unit.schema(), unit.data(records=(HERS,)))
    assert len(cloud.events()) == 1
    ended = cloud.consents.event(kit.event("withdraw", [token], cloud.clock.ms, key=kit.SECOND_KEY, record=HERS), HERS)
    assert isinstance(ended, Ended)
    assert ended.state == "withdrawn"


def test_the_car_is_told_of_an_added_key_and_of_its_end(cloud: Cloud) -> None:
    """With a new generation, in every set from then on; car and cloud come to the same."""

    def compiled(t: Transaction) -> tuple[int, list[str]]:
        found = compile_set(parse_grant_set(grant_set_bytes(t, VEHICLE, 1)), kit.OWNER, Floors())
        assert found.refused == ()
        return len(found.owner.keys), [grant.state.value for grant in found.grants]

    cloud.give()
    before = len(cloud.changed)
    first = generation(cloud)
    change(cloud, addition(cloud))
    assert generation(cloud) == first + 1, "the car takes no set whose number it knows"
    hers(cloud)
    with cloud.store.transaction() as t:
        assert compiled(t) == (2, ["given", "given"])
    added = generation(cloud)
    change(cloud, removal(cloud))
    with cloud.store.transaction() as t:
        assert compiled(t) == (1, ["given"])
    assert generation(cloud) > added
    assert len(cloud.changed) > before + 1


def test_what_a_removed_key_gave_is_silent_when_the_removal_returns(cloud: Cloud, unit: Unit) -> None:
    """Key and payloads are destroyed, the journal has it, and what others gave goes on."""
    cloud.give()
    change(cloud, addition(cloud))
    hers(cloud)
    cloud.send(unit.schema(), unit.data(records=(kit.RECORD_ID, HERS)))
    assert len(cloud.events()) == 2
    assert change(cloud, removal(cloud)) == [HERS]
    assert (state(cloud), state(cloud, kit.RECORD_ID)) == ("revoked", "given")
    assert len(cloud.events()) == 1
    assert cloud.journal.names(HERS)
    cloud.send(unit.data(records=(HERS,)))
    assert len(cloud.events()) == 1


@pytest.mark.parametrize("kind", ["resume", "renew"])
def test_what_a_removed_key_widened_ends_though_another_gave_it(cloud: Cloud, kind: str) -> None:
    change(cloud, addition(cloud))
    entries = [cloud.give()]
    for each, key in (("pause", kit.OWNER_KEY), (kind, kit.SECOND_KEY)):
        if each == "pause" and kind == "renew":
            continue
        extra = {"expires_ms": cloud.clock.ms + 60 * kit.DAY_MS} if each == "renew" else {}
        entries.append(kit.event(each, entries, cloud.clock.ms, key=key, **extra))
        cloud.consents.event(entries[-1], kit.RECORD_ID)
    assert state(cloud, kit.RECORD_ID) == "given"
    assert change(cloud, removal(cloud)) == [kit.RECORD_ID]
    assert state(cloud, kit.RECORD_ID) == "revoked"


def test_a_removed_key_widens_nothing_and_still_narrows(cloud: Cloud) -> None:
    """Whoever has it can only take away: better twice silent than once too loud."""
    token = cloud.give()
    change(cloud, addition(cloud))
    change(cloud, removal(cloud))
    with pytest.raises(RemoteError, match="not the owner's"):
        hers(cloud)
    pause = kit.event("pause", [token], cloud.clock.ms, key=kit.SECOND_KEY)
    cloud.consents.event(pause, kit.RECORD_ID)
    assert state(cloud, kit.RECORD_ID) == "suspended"
    for kind in ("resume", "renew"):
        extra = {"expires_ms": cloud.clock.ms + 60 * kit.DAY_MS} if kind == "renew" else {}
        with pytest.raises(RemoteError, match="not the owner's"):
            cloud.consents.event(
                kit.event(kind, [token, pause], cloud.clock.ms, key=kit.SECOND_KEY, **extra), kit.RECORD_ID
            )
    resume = kit.event("resume", [token, pause], cloud.clock.ms)
    cloud.consents.event(resume, kit.RECORD_ID)
    assert state(cloud, kit.RECORD_ID) == "given"
    withdraw = kit.event("withdraw", [token, pause, resume], cloud.clock.ms, key=kit.SECOND_KEY)
    cloud.consents.event(withdraw, kit.RECORD_ID)
    assert state(cloud, kit.RECORD_ID) == "withdrawn"


def test_what_was_compiled_before_a_key_was_removed_decides_nothing(cloud: Cloud) -> None:
    """The token is one of the documents that a compiled grant is kept under."""
    change(cloud, addition(cloud))
    hers(cloud)
    with cloud.store.transaction() as t:
        assert cloud.book.may_send(t, HERS, cloud.clock.ms)
        t.devices.add_owner_token(VEHICLE, 1, 2, removal(cloud))
        assert not cloud.book.may_send(t, HERS, cloud.clock.ms)


def test_who_may_change_keys(cloud: Cloud) -> None:
    """A pinned one, now; and what was removed stays so, whoever says the old addition again."""
    old = addition(cloud)
    assert reason(cloud, addition(cloud, kit.OTHER_KEY)) == "jws_key"
    assert reason(cloud, addition(cloud, late_ms=400_000)) == "key_clock"
    change(cloud, old)
    assert reason(cloud, removal(cloud, kit.SECOND_KEY)) == "jws_key"
    own = sign_removal(kit.OWNER, kit.OWNER_KEY.public, cloud.clock.ms, kit.OWNER_KEY.secret)
    assert reason(cloud, own) == "key_pinned"
    change(cloud, removal(cloud))
    assert change(cloud, old) == []
    with pytest.raises(RemoteError, match="not the owner's"):
        hers(cloud)


def test_a_removal_that_meets_a_full_disk_is_silent_at_once_and_can_be_said_again(cloud: Cloud, unit: Unit) -> None:
    full = Full(cloud)
    change(cloud, addition(cloud))
    hers(cloud)
    cloud.send(unit.schema(), unit.data(records=(HERS,)))
    full.begin()
    with pytest.raises(UnavailableError):
        change(cloud, removal(cloud))
    full.end()
    with cloud.store.transaction() as t:
        assert not cloud.book.may_send(t, HERS, cloud.clock.ms)
    change(cloud, removal(cloud))
    cloud.consents.finish_endings()
    assert state(cloud) == "revoked"
    with pytest.raises(RemoteError):
        cloud.consents.give(kit.token(id=format_id("rec_", b"once again"), key=kit.SECOND_KEY), kit.VEHICLE)


def test_an_added_key_reads_and_a_removed_one_does_not(cloud: Cloud) -> None:
    client = Client(make_api(cloud.store, cloud.consents, cloud.offers, TOKEN, cloud.clock.now_ms, facts, *cloud.tell))
    path = f"/v1/vehicles/{kit.VEHICLE}/keys"

    def read(key: SigningKey) -> tuple[int, list[str]]:
        answer = client.get(path, headers=owned(cloud, path, key))
        return answer.status_code, [each["standing"] for each in answer.json().get("keys", [])]

    assert read(kit.SECOND_KEY)[0] == 401
    for token, status, standing in ((addition(cloud), 200, "added"), (removal(cloud), 401, "removed")):
        answer = client.post("/v1/keys", json={"vehicle": kit.VEHICLE, "key": token})
        assert (answer.status_code, answer.json()) == (200, {"ended": []})
        assert read(kit.SECOND_KEY)[0] == status
        assert read(kit.OWNER_KEY) == (200, ["pinned", standing])
    (_, found) = client.get(path, headers=owned(cloud, path)).json()["keys"]
    assert found["thumbprint"] == jws.thumbprint(kit.SECOND_KEY.public)
