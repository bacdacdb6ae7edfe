"""What the cloud publishes could be kept here; nobody agrees to what has ended, and what was agreed stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from carnet import canonical
from carnet.errors import ConsentError
from carnet.ids import format_id
from carnet.signals import Category, Sensitivity
from carnet_cloud.api import make_api
from carnet_cloud.catalogue import Catalogue, Entry
from carnet_cloud.offers import NAMED_MAX, Offers
from tests import consentkit as kit
from tests.cloud.kit import Cloud, Unit
from tests.cloud.test_api import OPERATOR, TOKEN, Client, facts

TYPO = "Vehicle.Spee"
STRANGER = format_id("rcp_", b"nobodyhere")
PRIVATE = "Vehicle.Private.can0.car.Body.Door"


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    cloud = Cloud(tmp_path)
    cloud.enrol(Unit())
    return cloud


@pytest.fixture
def client(cloud: Cloud) -> Client:
    return Client(make_api(cloud.store, cloud.consents, cloud.offers, TOKEN, cloud.clock.now_ms, facts, *cloud.tell))


def published(client: Client, document: bytes) -> Any:
    return client.post("/v1/offers", content=document, headers=OPERATOR)


def shown(client: Client) -> list[str]:
    found: list[str] = client.get("/v1/offers", params={"vehicle": kit.VEHICLE}).json()["offers"]
    return found


# what is published


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"recipient": STRANGER}, "offer_recipient", ("recipient: no [[recipient]]", f"known are {kit.RECIPIENT}")),
        ({"recipient_name": "Wеrkstatt Süd"}, "offer_name", ("recipient_name: ", kit.RECIPIENT_NAME)),
        ({"recipient_name": "Autohaus Nord"}, "offer_name", ("recipient_name: ", kit.RECIPIENT_NAME)),
        ({"tenant": "ten_" + "b" * 16}, "offer_tenant", ("tenant: no vehicle", f"known are {kit.TENANT}")),
        (
            {"items": [kit.item(kit.ODOMETER), kit.item("Vehicle.Sped")]},
            "offer_path",
            ("items[1].path: no mapping file of [catalogue] has", f"is {kit.SPEED} meant?"),
        ),
        ({"items": [kit.item("Vehicle.Cabin.Door.Row1.IsOpen")]}, "offer_path", ("items[0].path: ", "forwarded")),
        ({"items": [kit.item(PRIVATE)]}, "offer_path", ("items[0].path: ", "never be forwarded")),
        (
            {"items": [kit.item(kit.SPEED, when=[kit.when(TYPO, ">", "1")]), kit.item(TYPO, "condition")]},
            "offer_path",
            ("items[1].path: ", f"is {kit.SPEED} meant?"),
        ),
        ({"items": [kit.item("Vehiсle.Speed")]}, "offer_malformed", ("items[0].path: ", "letters")),
    ],
)  # fmt: skip
def test_an_offer_that_nobody_here_could_keep_is_refused_and_says_where(
    client: Client, changes: dict[str, Any], reason: str, words: tuple[str, ...]
) -> None:
    """Unknown recipient, tenant or path: with what is known instead. And it is shown to nobody."""
    answer = published(client, kit.offer_bytes(**changes))
    assert (answer.status_code, answer.json()["reason"]) == (400, reason)
    message = answer.json()["message"]
    assert message.startswith(words[0]) and all(word in message for word in words)
    assert shown(client) == []


def test_a_condition_may_be_on_a_signal_that_only_the_car_knows(client: Client) -> None:
    """It is looked at there and goes nowhere."""
    items = [kit.item(kit.SPEED, when=[kit.when(PRIVATE, "==", "1")]), kit.item(PRIVATE, "condition")]
    assert published(client, kit.offer_bytes(items=items)).status_code == 201


def test_a_category_may_be_empty_today(client: Client) -> None:
    """It is every signal that the catalogue counts to it, now and later."""
    assert published(client, kit.offer_bytes(items=[kit.item("comfort")])).status_code == 201


def test_a_refusal_names_only_some_of_many_recipients(cloud: Cloud) -> None:
    many = [format_id("rcp_", b"shop%06d" % n) for n in range(1000)]
    offers = Offers(cloud.store, Catalogue([]), dict.fromkeys(many, ""), cloud.clock.now_ms)
    with pytest.raises(ConsentError) as refused:
        offers.publish(kit.OFFER)
    assert str(refused.value).count("rcp_") == NAMED_MAX and str(refused.value).endswith(" and others")


def test_what_was_published_once_is_the_same_offer_whatever_is_known_now(cloud: Cloud) -> None:
    """A recipient that was taken from the configuration since."""
    cloud.offers.publish(kit.OFFER)
    later = Offers(cloud.store, Catalogue([]), {}, cloud.clock.now_ms)
    assert later.publish(kit.OFFER) == kit.OFFER_ID
    with pytest.raises(ConsentError) as refused:
        later.publish(kit.offer_bytes(valid_days=1))
    assert refused.value.reason == "offer_changed"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (canonical.encode(kit.offer_document(items=[kit.item(kit.SPEED)] * 10_000))[:200_000], "json_size"),
        (kit.offer_bytes(reveals="x" * 60_000), "offer_malformed"),
        (kit.offer_bytes(recipient_name="Werkstatt\u200b"), "text_deceptive"),
        (kit.offer_bytes(items=[kit.item(kit.SPEED), kit.item(kit.SPEED, "optional")]), "offer_duplicate"),
        (kit.OFFER.replace(b'"v":1', b'"v":1,"v":1'), "json_duplicate_key"),
        (kit.OFFER.replace(b'"path":"Vehicle.Speed"', b'"path":"Vehicle.Sp\\ud800"'), "json_malformed"),
        (b"[" * 60_000, "json_malformed"),
    ],
    ids=["10,000 items", "huge string", "invisible", "twice", "key twice", "half a surrogate", "deep"],
)
def test_a_crooked_offer_is_one_refusal(client: Client, document: bytes, reason: str) -> None:
    answer = published(client, document)
    assert (answer.status_code, answer.json()["reason"]) == (400, reason)
    assert len(answer.json()["message"]) < 500


# what has ended


def ended(client: Client, offer: str = kit.OFFER_ID) -> Any:
    return client.post(f"/v1/offers/{offer}/end", headers=OPERATOR)


def test_an_offer_that_has_ended_is_shown_to_nobody_and_no_new_record_agrees_to_it(
    cloud: Cloud, client: Client
) -> None:
    """The owner had read it before; a recording of his earlier yes is still that yes."""
    published(client, kit.OFFER)
    given = {"vehicle": kit.VEHICLE, "record": kit.token()}
    assert client.post("/v1/records", json=given).status_code == 201
    answer = ended(client).json()
    assert (answer["offer"], answer["recipient_name"], answer["records"]) == (kit.OFFER_ID, "Werkstatt Süd", 1)
    assert shown(client) == []
    late = client.post("/v1/records", json={"vehicle": kit.VEHICLE, "record": kit.token(id=kit.OTHER_RECORD_ID)})
    assert (late.status_code, late.json()["reason"]) == (400, "offer_ended")
    assert client.post("/v1/records", json=given).status_code == 201


def test_a_record_from_before_stays_as_it_is(cloud: Cloud, client: Client) -> None:
    """It forwards, and is paused, resumed, renewed and withdrawn as before."""
    unit = Unit()
    entries = [cloud.give()]
    ended(client)
    cloud.send(unit.schema(), unit.data())
    assert len(cloud.events()) == 1
    for kind, state in (("pause", "suspended"), ("resume", "given"), ("renew", "given"), ("withdraw", "withdrawn")):
        cloud.clock.ms += 1000
        more: dict[str, Any] = {"expires_ms": cloud.clock.ms + 60 * kit.DAY_MS} if kind == "renew" else {}
        entries.append(kit.event(kind, entries, cloud.clock.ms, **more))
        answer = client.post("/v1/events", json={"record": kit.RECORD_ID, "event": entries[-1]}).json()
        assert answer["state"] == state, answer


def test_an_end_stays_an_end(cloud: Cloud, client: Client) -> None:
    """Ended twice is ended when it was first, and the same bytes do not open it again."""
    published(client, kit.OFFER)
    first = ended(client).json()
    cloud.clock.ms += 1000
    assert ended(client).json() == first
    again = published(client, kit.OFFER)
    assert (again.status_code, again.json()["reason"]) == (400, "offer_ended")
    assert shown(client) == []


def test_only_the_operator_ends_an_offer_and_only_one_that_there_is(client: Client) -> None:
    published(client, kit.OFFER)
    assert client.post(f"/v1/offers/{kit.OFFER_ID}/end").status_code == 401
    assert len(shown(client)) == 1
    assert ended(client, "off_" + "a" * 16).json()["reason"] == "offer_unknown"
    assert ended(client, "rec_" + "a" * 16).json()["reason"] == "id_malformed"


# what a category means


def test_a_category_is_told_by_its_paths_and_never_with_a_private_one(tmp_path: Path) -> None:
    """Everybody may ask: what an owner agrees to is no secret."""
    names = [kit.SPEED, kit.ODOMETER, PRIVATE]
    entries = [Entry(name, "", Category.DRIVING, Sensitivity.LOW) for name in names]
    cloud = Cloud(tmp_path, catalogue=Catalogue([*entries, Entry(kit.IGNITION, "", Category.ENERGY, Sensitivity.LOW)]))
    api = make_api(cloud.store, cloud.consents, cloud.offers, TOKEN, cloud.clock.now_ms, facts, *cloud.tell)
    assert Client(api).get("/v1/categories/driving").json() == {"paths": [kit.SPEED, kit.ODOMETER]}
    assert Client(api).get("/v1/categories/comfort").json() == {"paths": []}
    assert Client(api).get("/v1/categories/drivіng").status_code == 422
