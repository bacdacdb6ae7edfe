"""A car that has changed hands: its owner before, his records and what he had on its way are of the past at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from carnet.enrolment import Enrolment
from carnet.envelopetype import EnvelopeType
from carnet.errors import RemoteError, UnavailableError
from carnet.ids import device_text, format_id
from carnet.keys import BoxKey, SigningKey
from carnet_cloud.api import make_api
from carnet_cloud.consents import DRAIN_MS
from carnet_cloud.enrol import admit, enrol
from carnet_cloud.entries import Entries
from carnet_cloud.lease import Lease
from carnet_cloud.running.keeper import finish_sales
from tests import consentkit as kit
from tests.agent import agentkit
from tests.agent.agentkit import Rig, bodies, grants
from tests.attacks.test_operator_attacks import Full
from tests.cloud.kit import NOW_MS, VEHICLE, Cloud, Unit, readings
from tests.cloud.test_api import TOKEN, Client, facts, owned

RECORD_OF_BUYER = format_id("rec_", b"the buyers")
RECORDS = (kit.RECORD_ID, format_id("rec_", b"the second"), format_id("rec_", b"the third!"))


def bought() -> Unit:
    """The unit as it is paired anew for the buyer."""
    return Unit(
        device=bytes([9]) * 16,
        key=SigningKey.from_seed(b"n" * 32),
        receive=BoxKey.from_seed(b"m" * 32),
        stream=b"streambb",
        epoch=2,
        generation=0,
    )


def enrolment(unit: Unit, owner: SigningKey = kit.OTHER_KEY) -> Enrolment:
    return Enrolment(unit.device, VEHICLE, unit.epoch, unit.key.public, unit.receive.public, (owner.public,))


def sell(cloud: Cloud, unit: Unit | None = None, owner: SigningKey = kit.OTHER_KEY) -> int:
    """As the API does when the buyer's enrolment comes."""
    file = enrolment(unit or bought(), owner)
    return cloud.consents.end_tenures(VEHICLE, lambda t: admit(t, file, kit.TENANT, cloud.clock.ms))


@pytest.fixture
def seller() -> Unit:
    return Unit()


@pytest.fixture
def cloud(tmp_path: Path, seller: Unit) -> Cloud:
    """Three records of the seller, an event of each waiting."""
    cloud = Cloud(tmp_path)
    cloud.enrol(seller)
    for record in RECORDS:
        cloud.give(id=record)
    cloud.send(seller.schema(), seller.data(records=RECORDS))
    assert len(cloud.events()) == len(RECORDS)
    return cloud


def states(cloud: Cloud) -> set[str]:
    with cloud.store.transaction() as t:
        return {stored.state for stored in t.consents.records(VEHICLE, 1)}


def give_anew(cloud: Cloud) -> Unit:
    """The buyer agrees to the same offer; his unit."""
    token = kit.token(
        id=RECORD_OF_BUYER,
        epoch=2,
        key=kit.OTHER_KEY,
        given_ms=cloud.clock.ms - 5_000,
        not_before_ms=cloud.clock.ms - 5_000,
    )
    cloud.consents.give(token, kit.VEHICLE)
    return bought()


# in one step


def test_f25_a_sale_ends_all_records_and_units_of_the_owner_before_in_one_transaction(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between two of them leaves the car the seller's in the store, and everything of his silent."""
    added: list[str] = []
    add = Entries.add

    def cut(self: Entries, *arguments: object) -> None:
        if len(added) == 1:
            raise KeyboardInterrupt
        added.append("one")
        add(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Entries, "add", cut)
        with pytest.raises(KeyboardInterrupt):
            sell(cloud)
    assert states(cloud) == {"given"}
    with cloud.store.transaction() as t:
        assert [(unit.epoch, unit.state) for unit in t.devices.of_vehicle(VEHICLE)] == [(1, "active")]
        assert not any(cloud.book.may_send(t, record, cloud.clock.ms) for record in RECORDS)
    assert sell(cloud) == 0
    assert states(cloud) == {"invalidated"}
    assert cloud.events() == []


def test_f25_a_sale_that_meets_a_full_disk_is_silent_at_once_and_can_be_said_again(cloud: Cloud) -> None:
    full = Full(cloud)
    full.begin()
    with pytest.raises(UnavailableError):
        sell(cloud)
    full.end()
    assert states(cloud) == {"given"}
    with cloud.store.transaction() as t:
        assert not any(cloud.book.may_send(t, record, cloud.clock.ms) for record in RECORDS)
    sell(cloud)
    assert states(cloud) == {"invalidated"}


def test_f25_a_sale_is_in_the_journal_before_a_restored_store_could_undo_it(cloud: Cloud) -> None:
    before = len(cloud.journal.narrowings)
    assert sell(cloud) == len(RECORDS)
    lines = cloud.journal.narrowings[before:]
    assert {(one.record, one.event) for one in lines} == {(record, "invalidate") for record in RECORDS}
    assert cloud.journal.pending == []


def test_f25_a_sale_waits_once_for_all_that_flies(cloud: Cloud) -> None:
    """Three sends hang: they are cut together."""
    for number, record in enumerate(RECORDS):
        cloud.leases.begin(Lease(bytes([number]), record, 0.0, cloud.clock.monotonic_ms, lambda: True))
    began_ms = cloud.clock.ms
    sell(cloud)
    assert DRAIN_MS <= cloud.clock.ms - began_ms <= DRAIN_MS + 50


def test_f25_a_sale_enrolled_while_no_service_ran_ends_the_records_before_the_first_send(cloud: Cloud) -> None:
    """And again it changes nothing."""
    unit = bought()
    enrol(cloud.store, enrolment(unit).signed(unit.key), kit.TENANT, NOW_MS)
    assert states(cloud) == {"given"}
    assert finish_sales(cloud.store, cloud.consents) == len(RECORDS)
    assert states(cloud) == {"invalidated"}
    assert cloud.events() == []
    assert finish_sales(cloud.store, cloud.consents) == 0


def test_f25_an_enrolment_that_is_refused_ends_nothing(cloud: Cloud) -> None:
    """A file for an epoch that has another owner."""
    unit = replace(bought(), epoch=1)
    with pytest.raises(RemoteError) as refused:
        sell(cloud, unit)
    assert refused.value.reason == "epoch_owner"
    assert states(cloud) == {"given"}
    assert len(cloud.events()) == len(RECORDS)


# late data


def test_f25_an_envelope_of_the_old_epoch_that_arrives_after_the_sale_is_nobodys(cloud: Cloud, seller: Unit) -> None:
    """Captured while the consent held, held up on the way: under which records could it still go?"""
    late = seller.data(records=RECORDS)
    sell(cloud)
    buyer = give_anew(cloud)
    assert cloud.send(late) == []
    assert cloud.events() == []
    assert cloud.counters()["refused_device_ended"] == 1
    assert buyer.epoch == 2


def test_f25_readings_of_the_old_epoch_do_not_pass_as_the_buyers(cloud: Cloud) -> None:
    """A unit that lies about the epoch, or kept old boxes, under the seller's records or the buyer's."""
    sell(cloud)
    buyer = give_anew(cloud)
    mine = (RECORD_OF_BUYER,)
    cloud.send(buyer.schema(), device=buyer.device)
    for epoch, records in ((1, RECORDS), (1, mine), (2, RECORDS)):
        buyer.epoch = epoch
        cloud.send(buyer.data(records=records), device=buyer.device)
    assert cloud.events() == []
    assert cloud.counters()["blocked_tenure"] == 8 * (2 * len(RECORDS) + 1)
    buyer.epoch = 2
    cloud.send(buyer.data(records=mine), device=buyer.device)
    assert len(cloud.events()) == 1


def test_f25_what_was_captured_before_the_sale_is_outside_of_the_buyers_consent(cloud: Cloud) -> None:
    """His record cannot reach back, whatever epoch a box names."""
    sell(cloud)
    buyer = give_anew(cloud)
    schema, early = buyer.schema(), buyer.data(readings(boot_ms=buyer.boot_ms - 60_000), records=(RECORD_OF_BUYER,))
    cloud.send(schema, early, device=buyer.device)
    assert cloud.events() == []
    assert cloud.counters()["blocked_time"] == 8


def test_f25_what_waited_for_its_time_at_the_sale_is_destroyed(tmp_path: Path) -> None:
    """The unit that could tell it is not heard any more."""
    cloud, seller = Cloud(tmp_path), Unit(wall_ms=0)
    cloud.enrol(seller)
    cloud.give()
    cloud.send(seller.schema(), seller.data())
    with cloud.store.transaction() as t:
        assert t.streams.held_count(seller.device) == 1
    sell(cloud)
    with cloud.store.transaction() as t:
        assert t.streams.held_count(seller.device) == 0
    assert cloud.counters()["held_destroyed"] == 1


# a rental, and the way back


def test_f25_a_car_that_comes_back_shows_nothing_of_who_had_it_and_revives_nothing_of_before(cloud: Cloud) -> None:
    """The owner's key is that of epochs 1 and 3, the renter's that of epoch 2."""
    client = Client(make_api(cloud.store, cloud.consents, cloud.offers, TOKEN, cloud.clock.now_ms, facts, *cloud.tell))
    sell(cloud)
    rented = give_anew(cloud)
    cloud.send(rented.schema(), rented.data(records=(RECORD_OF_BUYER,)), device=rented.device)
    assert len(cloud.events()) == 1
    late = rented.data(records=(RECORD_OF_BUYER,))
    back = Unit(device=bytes([8]) * 16, key=SigningKey.from_seed(b"b" * 32), stream=b"streamcc", epoch=3, generation=0)
    sell(cloud, back, kit.OWNER_KEY)
    assert cloud.events() == []
    assert cloud.send(late) == []
    for key, records in ((kit.OWNER_KEY, RECORDS), (kit.OTHER_KEY, (RECORD_OF_BUYER,))):
        path = f"/v1/vehicles/{kit.VEHICLE}/statement"
        told = client.get(path, headers=owned(cloud, path, key))
        assert {entry["record"] for entry in told.json()["records"]} == set(records)
        assert {entry["state"] for entry in told.json()["records"]} == {"invalidated"}
        assert (device_text(rented.device) in told.text) is (key is kit.OTHER_KEY)
    cloud.send(back.schema(), back.data(records=(*RECORDS, RECORD_OF_BUYER)), device=back.device)
    assert cloud.events() == []
    with pytest.raises(RemoteError) as refused:
        cloud.give(id=RECORDS[0])
    assert refused.value.reason == "record_epoch"


# on the unit


def test_f25_a_unit_that_was_sold_sends_nothing_of_the_old_epoch_and_takes_no_grant_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither rows that waited, nor the grant set of the seller, said again by whoever kept it."""
    rig = Rig(NOW_MS)
    rig.synchronised = True
    rig.start()
    rig.grant(grants(9))
    rig.pass_time(130_000)
    assert rig.count("rows_waiting") > 2
    stream = rig.agent._buffer.stream
    monkeypatch.setattr(kit, "OWNER", replace(kit.OWNER, epoch=2))
    rig.start()
    assert rig.identifiers == {"can0": ()}
    rig.grant(grants(9))
    rig.grant(grants(10))
    assert rig.count("down_grants_epoch") == 2
    rig.connect()
    rig.hear(agentkit.answer(rig.take()[-1], server_ms=rig.wall_ms))
    rig.pass_time(70_000)
    sent = rig.envelopes()
    assert bodies(sent, EnvelopeType.DATA) == []
    assert stream not in {envelope.header.stream for envelope in sent}
    rig.grant(grants(1, epoch=2))
    assert rig.agent.status()["generation"] == 1
