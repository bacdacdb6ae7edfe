"""Readings sealed to a recipient, and everybody who would like to have them, or to have them otherwise."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from carnet import canonical
from carnet.cli.show import offer_lines
from carnet.codec import encode
from carnet.consent import Documents
from carnet.errors import RemoteError
from carnet.ids import format_id, parse_id
from carnet.keys import BoxKey
from carnet.offers import parse_offer
from carnet.padding import pad
from carnet.sealed import Context, Declaration, seal_body
from carnet.sealedbox import seal
from carnet.sealedevents import Opener
from tests import consentkit as kit
from tests.agent.agentkit import ITEMS, Rig, answer
from tests.cloud.kit import BOOT, NOW_MS, SCHEMA, Cloud, Unit, readings

OFFER = kit.offer_bytes(items=ITEMS, **kit.sealed_to())
GRANTED = kit.offer_bytes(**kit.sealed_to())
KEY = kit.RECIPIENT_KEY
CLOUDS_OWN, RIVAL = BoxKey.from_seed(b"\x08" * 32), BoxKey.from_seed(b"\x09" * 32)
RECORD = parse_id(kit.RECORD_ID, "rec_")
OTHER_RECIPIENT = format_id("rcp_", b"insurances")


def outcome(event: dict[str, Any], key: BoxKey = KEY, opener: Opener | None = None) -> str:
    try:
        (opener or Opener((key,))).open(json.dumps(event).encode())
    except RemoteError as refusal:
        return refusal.reason
    return "accepted"


def lying_body(declared: Declaration) -> bytes:
    """What a car makes that seals the usual readings and declares what it likes."""
    head = declared.encode()
    binding = Context(RECORD, BOOT, SCHEMA.hash).binding(head)
    return head + seal(pad(binding + encode(readings())), KEY.public, b"e" * 32)


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    cloud = Cloud(tmp_path)
    unit = Unit()
    cloud.enrol(unit)
    cloud.offers.publish(GRANTED)
    cloud.consents.give(kit.token(GRANTED), kit.VEHICLE)
    cloud.send(unit.schema())
    return cloud


def event(cloud: Cloud, body: bytes | None = None) -> dict[str, Any]:
    """What an honest cloud would forward of this body."""
    unit = Unit(stream=b"streambb")
    cloud.send(unit.data(body=body or seal_body(readings(), KEY.public, RECORD, BOOT, b"e" * 32)))
    return cloud.events()[-1]


def changed(event: dict[str, Any], **members: Any) -> dict[str, Any]:
    """The same with other members of its piece."""
    (piece,) = event["data"]["sealed"]
    return {**event, "data": {**event["data"], "sealed": [{**piece, **members}]}}


# a lying cloud


def told(documents: Documents) -> Rig:
    """A car that was sent this record by its cloud, and drove for a minute."""
    rig = Rig(NOW_MS)
    rig.synchronised = True
    rig.start()
    rig.connect()
    rig.hear(answer(rig.take()[0], server_ms=rig.wall_ms))
    rig.grant(kit.grant_set(1, documents))
    rig.pass_time(65_000)
    return rig


@pytest.mark.parametrize(
    "swapped",
    [
        kit.offer_bytes(items=ITEMS, **kit.sealed_to(CLOUDS_OWN)),
        kit.offer_bytes(items=ITEMS),
        kit.offer_bytes(items=ITEMS, **{**kit.sealed_to(), "v": 1}),
    ],
    ids=["for its own", "for none", "for a version that has none"],
)
def test_w22_a_cloud_that_swaps_the_key_gets_nothing_collected(swapped: bytes) -> None:
    """The owner signed the hash of an offer with this very key."""
    honest = kit.documents(offer=OFFER, optional=(1,))
    assert told(honest).identifiers["can0"]
    rig = told(replace(honest, offer=swapped))
    assert rig.identifiers == {"can0": ()}
    assert rig.agent.status()["in_force"] == []
    assert rig.count("grant_record_offer") + rig.count("grant_offer_malformed") == 1


def test_w22_a_cloud_that_publishes_another_key_later_changes_no_record(cloud: Cloud) -> None:
    with pytest.raises(RemoteError) as refusal:
        cloud.offers.publish(kit.offer_bytes(**kit.sealed_to(CLOUDS_OWN)))
    assert refusal.value.reason == "offer_changed"


def test_w22_the_owner_sees_before_he_agrees_whose_key_it_is() -> None:
    """To compare with what the recipient publishes: an offer with a key of the cloud's looks the same but for this."""
    for key in (KEY, CLOUDS_OWN):
        lines = list(offer_lines(parse_offer(kit.offer_bytes(**kit.sealed_to(key))), {}))
        assert any(key.kid.hex() in line for line in lines)


def test_w22_another_recipient_cannot_read_what_is_misdirected_to_it(cloud: Cloud) -> None:
    """By its own key, whatever the cloud writes on it."""
    sent = event(cloud)
    assert outcome(sent, RIVAL) == "box_key_differs"
    (piece,) = sent["data"]["sealed"]
    body = bytearray(base64.b64decode(piece["body"]))
    body[1:9] = RIVAL.kid
    relabelled = changed(sent, kid=RIVAL.kid.hex(), body=base64.b64encode(body).decode())
    assert outcome(relabelled, RIVAL) == "box_does_not_open"


def test_w22_no_key_of_the_cloud_opens_the_part(cloud: Cloud) -> None:
    from tests.cloud.kit import SEAL

    assert outcome(event(cloud), SEAL) == "box_key_differs"


def test_a_cloud_cannot_put_the_readings_under_another_record(cloud: Cloud) -> None:
    """The same recipient's, or its books would mix two cars."""
    sent = event(cloud)
    sent["data"]["record"] = kit.OTHER_RECORD_ID
    assert outcome(sent) == "binding_differs"


def test_a_cloud_cannot_give_the_columns_other_names_or_units(cloud: Cloud) -> None:
    sent = event(cloud)
    (piece,) = sent["data"]["sealed"]
    text = canonical.encode(piece["schema"]).decode()
    assert outcome(changed(sent, schema=json.loads(text.replace('"km/h"', '"mph"')))) == "binding_differs"
    assert outcome(changed(sent, schema=json.loads(text.replace('"0.5"', '"0.25"')))) == "binding_differs"


def test_a_cloud_cannot_declare_otherwise_in_the_cars_place(cloud: Cloud) -> None:
    sent = event(cloud)
    body = base64.b64decode(sent["data"]["sealed"][0]["body"])
    for at in range(9, 17):
        other = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        assert outcome(changed(sent, body=base64.b64encode(other).decode())) in {
            "binding_differs", "sealed_size", "varint_malformed", "batch_counts", "box_does_not_open",
        }  # fmt: skip


def test_a_cloud_that_sends_old_readings_as_new_ones_is_seen(cloud: Cloud) -> None:
    """Under a new id and another clock; the same event again is no news."""
    sent, opener = event(cloud), Opener((KEY,))
    assert [outcome(sent, opener=opener), outcome(sent, opener=opener)] == ["accepted", "accepted"]
    anchor = sent["data"]["sealed"][0]["anchor"]
    later = {name: anchor[name] + kit.DAY_MS for name in ("earliest_ms", "latest_ms")}
    again = {**changed(sent, anchor={**anchor, **later}), "id": "f" * 32}
    again["data"]["receipt_ms"] += kit.DAY_MS
    assert outcome(again, opener=opener) == "replayed"


def test_a_truncated_part_opens_for_nobody(cloud: Cloud) -> None:
    sent = event(cloud)
    body = base64.b64decode(sent["data"]["sealed"][0]["body"])
    cut = {outcome(changed(sent, body=base64.b64encode(body[:n]).decode())) for n in range(1, len(body))}
    assert cut <= {"sealed_size", "varint_malformed", "batch_counts"}


# a lying car


def test_a_car_that_declares_fewer_samples_than_it_seals_is_seen_by_the_recipient(cloud: Cloud) -> None:
    """The cloud forwards it: it cannot know. The owner's statement has the lie, the recipient's tool refuses it."""
    true = Declaration.of(readings(), KEY.kid)
    sent = event(cloud, lying_body(replace(true, counts=(1, 1))))
    assert outcome(sent) == "declared_counts"


def test_a_car_that_seals_what_was_captured_outside_of_the_consent_is_seen_by_the_recipient(cloud: Cloud) -> None:
    """It declares a moment inside, and seals four seconds."""
    true = Declaration.of(readings(), KEY.kid)
    sent = event(cloud, lying_body(replace(true, first_ms=true.last_ms)))
    assert outcome(sent) == "declared_times"


def test_a_car_cannot_seal_one_schema_and_name_another(cloud: Cloud) -> None:
    """A path that was not granted, under the hash of one that was."""
    head = Declaration.of(readings(), KEY.kid).encode()
    binding = Context(RECORD, BOOT, b"another-schema-1").binding(head)
    body = head + seal(pad(binding + encode(readings())), KEY.public, b"e" * 32)
    assert outcome(event(cloud, body)) == "binding_differs"


def test_a_car_cannot_hide_from_the_cloud_what_the_owner_left_open_to_it(tmp_path: Path) -> None:
    """Sealed under an offer without a key: denied, to whomever it is sealed."""
    cloud, unit = Cloud(tmp_path), Unit()
    cloud.enrol(unit)
    cloud.give()
    cloud.send(unit.schema())
    for key in (KEY, RIVAL):
        cloud.send(unit.data(body=seal_body(readings(), key.public, RECORD, BOOT, b"e" * 32)))
    assert cloud.events() == []
    assert cloud.counters()["blocked_seal"] == 16


def test_a_part_of_another_car_or_boot_is_not_this_ones(cloud: Cloud) -> None:
    """Stolen from another of the same recipient's events: its record or its boot differs."""
    body = seal_body(readings(), KEY.public, RECORD, b"bootbooz", b"e" * 32)
    assert outcome(event(cloud, body)) == "binding_differs"
