"""An attacker at the consent API: captured requests, the owner before, and two events at once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from carnet.enrolment import Enrolment
from carnet.errors import Error
from carnet.ids import format_id
from carnet.keys import BoxKey, SigningKey
from carnet_cloud.consents import Ended
from tests import consentkit as kit
from tests.cloud.kit import VEHICLE, Cloud, Unit
from tests.cloud.test_api import OPERATOR, Client, client, cloud, given, owned

__all__ = ["client", "cloud"]  # fixtures

OTHER_RECORD = format_id("rec_", b"another-re")
NEW_DEVICE = bytes(range(30, 46))


def sell(client: Client) -> SigningKey:
    """The car is paired anew for another owner; the new unit's key."""
    key = SigningKey.from_seed(b"n" * 32)
    receive = BoxKey.from_seed(b"m" * 32)
    file = Enrolment(NEW_DEVICE, VEHICLE, 2, key.public, receive.public, (kit.OTHER_KEY.public,)).signed(key)
    answer = client.post(f"/v1/enrolments?tenant={kit.TENANT}", content=file, headers=OPERATOR)
    assert answer.status_code == 201, answer.text
    return key


def test_f25_a_sale_ends_every_record_and_unit_of_the_owner_before(cloud: Cloud, client: Client) -> None:
    """What waits is destroyed, what the old unit still sends is taken no more."""
    given(client)
    unit = Unit()
    cloud.send(unit.schema(), unit.data())
    assert len(cloud.events()) == 1
    sell(client)
    assert cloud.events() == []
    with cloud.store.transaction() as t:
        stored = t.consents.record(kit.RECORD_ID)
    assert stored is not None
    assert stored.state == "invalidated"
    cloud.send(unit.data())
    assert cloud.counters()["refused_device_ended"] == 1


def test_f25_a_sale_that_a_crash_cut_off_is_finished_at_the_next_start(
    cloud: Cloud, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit is enrolled, the records are not ended yet."""
    given(client)
    with monkeypatch.context() as patch:
        patch.setattr(cloud.consents, "end_tenures", lambda _: 0)
        sell(client)
    assert cloud.consents.finish_endings() == 1


def test_the_owner_before_reads_nothing_of_the_new_one(cloud: Cloud, client: Client) -> None:
    """Records and statements are for the owner of their epoch, in both directions."""
    given(client)
    sell(client)
    token = kit.token(id=OTHER_RECORD, epoch=2, key=kit.OTHER_KEY)
    answer = client.post("/v1/records", json={"vehicle": kit.VEHICLE, "record": token})
    assert answer.status_code == 201, answer.text
    for what in ("records", "statement"):
        path = f"/v1/vehicles/{kit.VEHICLE}/{what}"
        before = client.get(path, headers=owned(cloud, path)).json()["records"]
        after = client.get(path, headers=owned(cloud, path, key=kit.OTHER_KEY)).json()["records"]
        assert [each["record"] for each in before] == [kit.RECORD_ID]
        assert [each["record"] for each in after] == [OTHER_RECORD]


def test_a_captured_confirmation_confirms_no_other_record(cloud: Cloud, client: Client) -> None:
    """The signature covers the record: it stands in the path."""
    given(client)
    client.post("/v1/records", json={"vehicle": kit.VEHICLE, "record": kit.token(id=OTHER_RECORD)})
    with cloud.store.transaction() as t:
        t.consents.set_silent(kit.RECORD_ID, True)
        t.consents.set_silent(OTHER_RECORD, True)
    base = f"/v1/vehicles/{kit.VEHICLE}/confirm"
    headers = owned(cloud, f"{base}/{kit.RECORD_ID}", method="POST") | {"Content-Length": "0"}
    assert client.post(f"{base}/{OTHER_RECORD}", headers=headers).status_code == 401
    assert client.post(f"{base}/{kit.RECORD_ID}", headers=headers).status_code == 200
    with cloud.store.transaction() as t:
        other = t.consents.record(OTHER_RECORD)
    assert other is not None
    assert other.silent


def test_a_replayed_resume_widens_nothing(cloud: Cloud, client: Client) -> None:
    """Pause, resume, pause; whoever kept the resume sends it again and gets the state as it stands."""
    token = given(client)
    entries = [token]
    for kind in ("pause", "resume", "pause"):
        cloud.clock.ms += 1000
        entries.append(kit.event(kind, entries, cloud.clock.ms))
        client.post("/v1/events", json={"record": kit.RECORD_ID, "event": entries[-1]})
    answer = client.post("/v1/events", json={"record": kit.RECORD_ID, "event": entries[2]})
    assert answer.json()["state"] == "suspended"


def test_two_events_at_once_are_both_answered_and_the_withdrawal_wins(tmp_path: Path) -> None:
    """A pause and a withdrawal made after the same history, from two threads: in any order the end is silence."""
    for turn in range(10):
        cloud = Cloud(tmp_path / str(turn))
        cloud.enrol(Unit())
        token = cloud.give()
        now_ms = cloud.clock.ms + 1000
        entries = [kit.event("pause", [token], now_ms), kit.event("withdraw", [token], now_ms)]
        results: list[object] = []

        def happen(entry: str, cloud: Cloud = cloud, results: list[object] = results) -> None:
            try:
                results.append(cloud.consents.event(entry, kit.RECORD_ID))
            except Error as error:
                results.append(error)

        threads = [threading.Thread(target=happen, args=(entry,)) for entry in entries]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not [result for result in results if isinstance(result, Error)]
        assert any(isinstance(result, Ended) for result in results)
        with cloud.store.transaction() as t:
            stored = t.consents.record(kit.RECORD_ID)
        assert stored is not None
        assert stored.state in {"withdrawn", "revoked"}
