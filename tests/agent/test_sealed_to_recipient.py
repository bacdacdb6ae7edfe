"""Car and cloud on one clock: what is sealed to its recipient goes through a cloud that cannot read it."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from carnet.box import Prelude, open_box
from carnet.codec import decode
from carnet.consent import Documents
from carnet.envelope import Envelope, parse_envelope
from carnet.envelopetype import EnvelopeType
from carnet.errors import FormatError
from carnet.ids import RECORD, format_id, parse_id
from carnet.sealed import is_sealed
from carnet.sealedevents import Opener
from carnet_cloud.consents import Ended
from tests import consentkit as kit
from tests.agent.agentkit import ITEMS, Rig, answer
from tests.agent.linekit import World
from tests.carnet.test_stranger_recipient import open_events
from tests.cloud.kit import NOW_MS, SCHEMA, SEAL

SEALED_OFFER = kit.offer_bytes(id=format_id("off_", b"offer--two"), items=ITEMS, **kit.sealed_to())
SEALED_ID = kit.OTHER_RECORD_ID
Columns = dict[str, list[tuple[int, float]]]


def give_sealed(world: World, offer: bytes = SEALED_OFFER) -> str:
    world.cloud.offers.publish(offer)
    token = kit.token(offer, optional=(1,), id=SEALED_ID)
    world.cloud.consents.give(token, kit.VEHICLE)
    return token


def columns(events: list[dict[str, Any]]) -> Columns:
    """Path -> (time, value) of every sample."""
    found: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    for event in events:
        for column in event["data"]["columns"]:
            found[column["path"]] += zip(column["t_ms"], column["v"], strict=True)
    return dict(found)


def opened(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    opener = Opener((kit.RECIPIENT_KEY,))
    return [json.loads(opener.open(json.dumps(event).encode())) for event in events]


def boxes(envelopes: list[Envelope]) -> list[tuple[Prelude, bytes]]:
    """What the cloud finds in the data envelopes."""
    data = [each for each in envelopes if each.header.type is EnvelopeType.DATA]
    return [open_box(part.box or b"", SEAL, each.place(n)) for each in data for n, part in enumerate(each.parts)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.connect()
    return world


def of(world: World, record: str) -> list[dict[str, Any]]:
    return [event for event in world.cloud.events() if event["data"]["record"] == record]


def test_the_recipient_reads_in_a_sealed_event_what_stands_in_an_open_one(world: World) -> None:
    """Two records of one offer but for its key: the same columns at the same times, byte for byte."""
    world.give()
    give_sealed(world)
    world.drive(130)
    plain, sealed = of(world, kit.RECORD_ID), of(world, SEALED_ID)
    assert len(sealed) == len(plain) >= 2
    assert {event["type"] for event in sealed} == {"carnet.sealed.v1"}
    assert all("columns" not in event["data"] for event in sealed)
    assert columns(opened(sealed)) == columns(plain)
    assert len(columns(plain)[kit.SPEED]) > 100
    for one, other in zip(sorted(opened(sealed), key=_time), sorted(plain, key=_time), strict=True):
        assert one["data"]["columns"] == other["data"]["columns"]
        assert (one["type"], one["time"], list(one["data"])) == (other["type"], other["time"], list(other["data"]))
    bad = {name: n for name, n in world.cloud.counters().items() if name.startswith(("refused_", "blocked_")) and n}
    assert not bad


def test_a_stranger_reads_the_cars_readings_out_of_what_the_cloud_forwards(world: World, tmp_path: Path) -> None:
    """In another language, from the documents: from a CAN frame through both programs to its eyes."""
    world.give()
    give_sealed(world)
    world.drive(130)
    plain, sealed = sorted(of(world, kit.RECORD_ID), key=_time), sorted(of(world, SEALED_ID), key=_time)
    found = open_events(sealed, tmp_path)
    assert [each["columns"] for each in found] == [event["data"]["columns"] for event in plain]


def _time(event: dict[str, Any]) -> str:
    return str(event["time"])


def test_the_cloud_finds_no_reading_in_a_sealed_box_and_no_other_record_beside_it() -> None:
    """Nor in the checkpoints of the open window."""
    rig = Rig(NOW_MS)
    rig.synchronised = True
    rig.start()
    rig.connect()
    rig.hear(answer(rig.take()[0], server_ms=rig.wall_ms))
    both = (kit.documents(offer=SEALED_OFFER, optional=(1,), id=SEALED_ID), _plain())
    rig.grant(kit.grant_set(1, *both))
    rig.pass_time(65_000)
    found = boxes(rig.envelopes())
    assert {prelude.records for prelude, _ in found} == {
        (parse_id(SEALED_ID, RECORD),),
        (parse_id(kit.RECORD_ID, RECORD),),
    }
    for prelude, body in found:
        assert is_sealed(body) == (prelude.records == (parse_id(SEALED_ID, RECORD),))
    (body,) = {body for _, body in found if is_sealed(body)}
    with pytest.raises(FormatError, match="a form that is not known"):
        decode(body, SCHEMA)


def _plain() -> Documents:
    return kit.documents(offer=kit.offer_bytes(items=ITEMS), optional=(1,))


def test_after_the_withdrawal_a_sealed_record_is_as_silent_as_any(world: World) -> None:
    token = give_sealed(world)
    world.drive(70)
    assert of(world, SEALED_ID)
    withdraw = kit.event("withdraw", [token], world.rig.wall_ms, record=SEALED_ID)
    assert isinstance(world.cloud.consents.event(withdraw, SEALED_ID), Ended)
    world.exchange()
    world.drive(70)
    assert world.cloud.events() == []
    assert world.rig.identifiers == {"can0": ()}


def test_sealed_boxes_of_an_ended_record_are_destroyed_and_their_envelope_still_verifies(world: World) -> None:
    world.give()
    token = give_sealed(world)
    world.drive(5)
    world.connect(False)
    world.drive(70)
    withdraw = kit.event("withdraw", [token], world.rig.wall_ms, record=SEALED_ID)
    world.cloud.consents.event(withdraw, SEALED_ID)
    world.connect()
    world.drive(70)
    assert world.rig.count("boxes_destroyed") >= 1
    assert of(world, SEALED_ID) == []
    assert len(columns(of(world, kit.RECORD_ID))[kit.SPEED]) > 100


def begun_with_an_aggregate(folder: Path) -> tuple[World, bytes]:
    """A car in the middle of a window, and an offer whose first window so began before the yes to it."""
    items = [
        kit.item(kit.SPEED, transform={"aggregate": {"fields": ["mean"], "window_ms": 10_000}}),
        kit.item(kit.ODOMETER, transform={"interval_ms": 5000}),
    ]
    world = World(folder)
    world.connect()
    world.drive(4)
    return world, kit.offer_bytes(id=format_id("off_", b"offer--two"), items=items, **kit.sealed_to())


def give_now(world: World, offer: bytes) -> None:
    now = world.rig.wall_ms
    times: dict[str, Any] = {"given_ms": now, "not_before_ms": now, "expires_ms": now + kit.DAY_MS}
    world.cloud.offers.publish(offer)
    world.cloud.consents.give(kit.token(offer, optional=(), id=SEALED_ID, **times), kit.VEHICLE)


def test_what_lies_before_the_grant_is_cut_out_by_the_car_and_the_rest_goes(tmp_path: Path) -> None:
    """The cloud could only deny the whole box."""
    world, offer = begun_with_an_aggregate(tmp_path)
    give_now(world, offer)
    world.drive(130)
    found = columns(opened(of(world, SEALED_ID)))
    assert len(found[kit.SPEED]) >= 10
    assert len(found[kit.ODOMETER]) >= 20
    assert world.rig.count("samples_outside") >= 1
    assert world.cloud.counters().get("blocked_time", 0) == 0


def test_what_a_checkpoint_saved_is_cut_to_the_grant_too(tmp_path: Path) -> None:
    """The power goes before the first window of an aggregate was sent; what the next start promotes is not denied."""
    world, offer = begun_with_an_aggregate(tmp_path)
    give_now(world, offer)
    world.drive(18)
    assert of(world, SEALED_ID) == []
    world.connect(False)
    world.rig.reboot()
    world.connect()
    world.drive(5)
    assert world.rig.count("boxes_promoted") >= 1
    assert len(columns(opened(of(world, SEALED_ID)))[kit.ODOMETER]) >= 2
    assert world.cloud.counters().get("blocked_time", 0) == 0


def test_envelopes_look_alike_whether_a_box_is_sealed_to_a_recipient_or_not(world: World) -> None:
    """The broker sees one key id for all boxes."""
    world.give()
    give_sealed(world)
    seen: list[bytes] = []
    hear = world.cloud.receiver.process

    def listen(messages: Any, now_ms: int) -> Any:
        seen.extend(payload for _, payload in messages)
        return hear(messages, now_ms)

    world.cloud.receiver.process = listen  # type: ignore[method-assign]
    world.drive(70)
    kids = {part.kid for payload in seen for part in parse_envelope(payload).parts}
    assert kids == {SEAL.kid}
