"""An attacker at the consent API: captured requests, the owner before, and two events at once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from carnet import jws
from carnet.enrolment import Enrolment
from carnet.errors import Error
from carnet.ids import format_id
from carnet.keys import BoxKey, SigningKey
from carnet.seen import HEADER, Seen, sign_seen
from carnet_cloud.consents import Ended
from tests import consentkit as kit
from tests.cloud.kit import VEHICLE, Cloud, Unit
from tests.cloud.test_api import OPERATOR, Client, client, cloud, given, owned

__all__ = ["client", "cloud"]  # fixtures

OTHER_RECORD = format_id("rec_", b"another-re")
NEW_DEVICE = bytes(range(30, 46))
ANY = f"/v1/offers?vehicle={kit.VEHICLE}"


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


# the generation that an owner's tool has seen (law 3)


def seen(
    generation: int,
    key: SigningKey = kit.OWNER_KEY,
    *,
    vehicle: str = kit.VEHICLE,
    epoch: int = 1,
    log: tuple[str, int] = ("", 0),
) -> dict[str, str]:
    """The header of a tool that has seen this generation and this log."""
    return {HEADER: sign_seen(Seen(vehicle, epoch, generation, *log), key.secret)}


def silent(cloud: Cloud) -> bool:
    """Whether the record waits for its owner's confirmation."""
    with cloud.store.transaction() as t:
        stored = t.consents.record(kit.RECORD_ID)
    assert stored is not None
    return stored.silent


def generation(cloud: Cloud) -> int:
    with cloud.store.transaction() as t:
        return t.consents.generation(VEHICLE, 1)


REQUESTS = {
    "offers": ("GET", f"/v1/offers?vehicle={kit.VEHICLE}"),
    "records": ("GET", f"/v1/vehicles/{kit.VEHICLE}/records"),
    "statement": ("GET", f"/v1/vehicles/{kit.VEHICLE}/statement"),
    "give": ("POST", "/v1/records"),
    "event": ("POST", "/v1/events"),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_f27_a_store_behind_what_the_owners_tool_has_seen_forwards_nothing(
    cloud: Cloud, client: Client, request_: tuple[str, str]
) -> None:
    """Whatever the tool came for, and whether that succeeds; until the owner has confirmed the record."""
    given(client)
    unit = Unit()
    cloud.send(unit.schema())
    method, path = request_
    signed = owned(cloud, path) if "vehicles" in path else {}
    if method == "GET":
        client.get(path, headers=seen(9) | signed)
    else:
        client.post(path, json={}, headers=seen(9))
    assert (silent(cloud), generation(cloud), cloud.counters()["behind_floor"]) == (True, 10, 1)
    cloud.send(unit.data())
    assert cloud.events() == []
    path = f"/v1/vehicles/{kit.VEHICLE}/confirm/{kit.RECORD_ID}"
    answer = client.post(path, headers=seen(9) | owned(cloud, path, method="POST"))
    assert answer.status_code == 200, answer.text
    cloud.send(unit.data())
    assert len(cloud.events()) == 1
    assert cloud.changed[-1] == VEHICLE, "the car hears of the new generation"


def head(cloud: Cloud) -> tuple[str, int]:
    """Name and size of the log."""
    with cloud.store.transaction() as t:
        (log,) = t.ledger.logs()
    return log.origin, log.size


def test_f27_a_store_whose_log_is_smaller_than_the_owner_was_shown_forwards_nothing(
    cloud: Cloud, client: Client
) -> None:
    """Until the owner has confirmed the record, once for each size; the generations may well be the same."""
    given(client)
    origin, size = head(cloud)
    client.get(ANY, headers=seen(1, log=(origin, size + 1)))
    assert (silent(cloud), cloud.counters()["behind_log_floor"]) == (True, 1)
    path = f"/v1/vehicles/{kit.VEHICLE}/confirm/{kit.RECORD_ID}"
    client.post(path, headers=seen(1, log=(origin, size + 1)) | owned(cloud, path, method="POST"))
    assert not silent(cloud)
    client.get(ANY, headers=seen(1, log=(origin, size + 2)))
    assert silent(cloud)


def test_f27_a_store_that_has_no_log_any_more_forwards_nothing(cloud: Cloud, client: Client) -> None:
    given(client)
    shown = head(cloud)
    for table in ("log", "log_node", "log_leaf"):
        cloud.store._connection.execute(f"delete from {table}")
    client.get(ANY, headers=seen(1, log=shown))
    assert silent(cloud)


def test_a_log_that_has_grown_and_one_of_another_name_silence_nothing(cloud: Cloud, client: Client) -> None:
    given(client)
    origin, size = head(cloud)
    for log in ((origin, size), (origin, 1), (f"{origin}-2", size + 9)):
        client.get(ANY, headers=seen(1, log=log))
        assert not silent(cloud)


@pytest.mark.parametrize("tool_saw", [0, 1])
def test_what_the_cloud_knows_silences_nothing(cloud: Cloud, client: Client, tool_saw: int) -> None:
    given(client)
    client.get(ANY, headers=seen(tool_saw))
    assert (silent(cloud), generation(cloud)) == (False, 1)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        (seen(9, kit.OTHER_KEY), "jws_key"),
        (seen(9, vehicle=kit.OTHER_VEHICLE), "jws_key"),
        (seen(9, epoch=2), "jws_key"),
        (seen(2**32), "seen_malformed"),
        ({HEADER: "9"}, "jws_malformed"),
        ({HEADER: jws.sign(jws.REQUEST, {"generation": 9}, kit.OWNER_KEY.secret)}, "seen_malformed"),
        ({HEADER: jws.sign(jws.SEEN, {"generation": 9}, kit.OWNER_KEY.secret)}, "seen_malformed"),
        ({HEADER: "x" * 10_000}, "jws_malformed"),
    ],
)
def test_a_stranger_silences_no_car_by_inventing_a_generation(
    cloud: Cloud, client: Client, word: dict[str, str], reason: str
) -> None:
    """Another key, another vehicle or epoch, an impossible number, rubbish: refused, and the sender hears why."""
    given(client)
    answer = client.get(f"/v1/offers?vehicle={kit.VEHICLE}", headers=word)
    assert (answer.status_code in (400, 401), answer.json()["reason"]) == (True, reason)
    assert (silent(cloud), generation(cloud)) == (False, 1)


def test_the_signature_of_another_purpose_is_no_word_about_a_generation(cloud: Cloud, client: Client) -> None:
    """A document of the right form that the owner signed as something else."""
    given(client)
    document = {
        "v": 1, "type": "seen", "vehicle": kit.VEHICLE, "epoch": 1, "generation": 9, "origin": "", "log_size": 0
    }  # fmt: skip
    answer = client.get(ANY, headers={HEADER: jws.sign(jws.REQUEST, document, kit.OWNER_KEY.secret)})
    assert (answer.json()["reason"], silent(cloud)) == ("jws_type", False)


def test_a_captured_word_said_again_silences_nothing(cloud: Cloud, client: Client) -> None:
    """It was true once and stays true: the store only goes up."""
    given(client)
    word = seen(1)
    token = kit.token(id=OTHER_RECORD)
    assert client.post("/v1/records", json={"vehicle": kit.VEHICLE, "record": token}).status_code == 201
    client.get(ANY, headers=word)
    assert (silent(cloud), generation(cloud)) == (False, 2)


def test_the_owner_before_silences_only_what_was_his(cloud: Cloud, client: Client) -> None:
    """His key still signs for his epoch, in which nothing lives any more."""
    given(client)
    sell(client)
    token = kit.token(key=kit.OTHER_KEY, id=OTHER_RECORD, epoch=2)
    assert client.post("/v1/records", json={"vehicle": kit.VEHICLE, "record": token}).status_code == 201
    client.get(ANY, headers=seen(99))
    with cloud.store.transaction() as t:
        new = t.consents.record(OTHER_RECORD)
    assert new is not None
    assert not new.silent


def test_a_withdrawal_is_taken_whatever_is_wrong_with_the_word_beside_it(cloud: Cloud, client: Client) -> None:
    """Narrowing needs nothing but the owner's signature under it."""
    token = given(client)
    event = kit.event("withdraw", [token], cloud.clock.ms)
    answer = client.post("/v1/events", json={"record": kit.RECORD_ID, "event": event}, headers={HEADER: "rubbish"})
    assert answer.json()["state"] == "withdrawn"
