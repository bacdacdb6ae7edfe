"""Offers: the strict parser agrees with a model that was written apart from it, and keeps what the page promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, Field, ValidationError, model_validator

from carnet import canonical
from carnet.consent import Condition, offer_hash, parse_offer
from carnet.errors import RemoteError
from carnet.signals import Category, DeliveryClass
from tests.carnet.documentmodel import OFFER_ID, RECIPIENT_ID, TENANT_ID, Strict, changed, places
from tests.consentkit import (
    LATITUDE,
    LONGITUDE,
    ODOMETER,
    OFFER,
    RECIPIENT_KEY,
    SPEED,
    item,
    items,
    offer_bytes,
    offer_document,
    sealed_to,
    when,
)  # fmt: skip

BETWEEN_ITEMS = {"offer_empty", "offer_duplicate", "offer_unmapped", "offer_condition", "offer_cell"}
"""Reasons about items together, which the model does not look at."""


def _check_words(text: str) -> str:
    if not text or not text.isprintable() or text.strip() != text:
        raise ValueError("words")
    return text


@dataclass(frozen=True)
class BytesMax:
    """A bound in bytes, where pydantic's own counts characters."""

    size: int

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return AfterValidator(self.check).__get_pydantic_core_schema__(source, handler)

    def check(self, text: str) -> str:
        if len(text.encode()) > self.size:
            raise ValueError("size")
        return text


Words = Annotated[str, AfterValidator(_check_words)]
Path = Annotated[str, Field(pattern=r"\AVehicle(\.[A-Za-z0-9_-]+)+\z", max_length=255)]


class Purpose(Strict):
    code: Annotated[str, Field(pattern=r"\A[A-Za-z][A-Za-z0-9:_.-]{0,63}\z")]
    text: Annotated[Words, BytesMax(2048)]


class When(Strict):
    path: Path
    op: Literal["<", "<=", "==", "!=", ">=", ">"]
    value: Annotated[str, Field(pattern=r"\A-?(0|[1-9][0-9]{0,14})(\.[0-9]{0,8}[1-9])?\z")]

    @model_validator(mode="after")
    def not_minus_zero(self) -> When:
        if self.value == "-0":
            raise ValueError("minus zero")
        return self


class Item(Strict):
    path: Path = ""
    category: Literal["location", "driving", "energy", "maintenance", "comfort", "identity", "unmapped", ""] = ""
    need: Literal["required", "optional", "condition"]
    transform: dict[str, Any]
    delivery_class: Annotated[Literal["background", "live", "event"], Field(alias="class")]
    when: Annotated[list[When], Field(max_length=8)]

    @model_validator(mode="after")
    def one_target(self) -> Item:
        if len(self.model_fields_set & {"path", "category"}) != 1 or not (self.path or self.category):
            raise ValueError("target")
        return self


class Incentive(Strict):
    kind: Literal["discount", "payment", "service", "goods"]
    value: Annotated[Words, BytesMax(256)]
    ends: Literal["with_consent", "never"]


class OfferModel(Strict):
    v: Annotated[int, Field(ge=1, le=1)]
    type: Literal["offer"]
    id: Annotated[str, Field(pattern=OFFER_ID)]
    tenant: Annotated[str, Field(pattern=TENANT_ID)]
    recipient: Annotated[str, Field(pattern=RECIPIENT_ID)]
    recipient_name: Annotated[Words, BytesMax(128)]
    purpose: Purpose
    items: Annotated[list[Item], Field(min_length=1, max_length=256)]
    reveals: Annotated[Words, BytesMax(2048)]
    retention_days: Annotated[int, Field(ge=1, le=3650)]
    valid_days: Annotated[int, Field(ge=1, le=365)]
    storage_location: Annotated[str, Field(pattern=r"\A[A-Z]{2}(-[A-Z0-9]{1,3})?\z")]
    incentive: Incentive | None
    replay_ms: Annotated[int, Field(ge=0, le=604_800_000)]
    created_ms: Annotated[int, Field(ge=0, le=2**53 - 1)]


class SealingKey(Strict):
    key: Annotated[str, Field(pattern=r"\A[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\z")]
    kid: Annotated[str, Field(pattern=r"\A[0-9a-f]{16}\z")]


class SealedOfferModel(OfferModel):
    v: Annotated[int, Field(ge=2, le=2)]
    sealed_to: SealingKey


VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 365, 366, 3650, 3651, 604_800_000, 604_800_001, 2**53 - 1, [], {}, [None],
    ["Vehicle.Speed"], "=", "=Vehicle", "=Vehicle.Speed", "=Vehicle..Speed", "=Vehicle.Speed\n", "=Vehicle." + "x" *
    247, "=Vehicle." + "x" * 248, "=driving", "=Driving", "=unmapped", "=location", "=required", "=condition",
    "=live", "=event", "=<", "=<=", "=>", "=>=", "==", "===", "=!=", "==>", "=discount", "=payment", "=service",
    "=goods", "=with_consent", "=never", "=0", "=-0", "=-0.5", "=1.0", "=1e3", "=+1", "=01", "=.5",
    "=123456789012345", "=1234567890123456", "=٣", "=DE", "=EU", "=de", "=US-CA", "=DE-",
    "=dpv:Other", "=1dpv", "=" + "a" * 64, "=" + "a" * 65, "=" + "x" * 128, "=" + "x" * 129, "=" + "é" * 128, "=" +
    "é" * 129, "=" + "é" * 1024, "=" + "é" * 1025, "drop", "rename", "twice",
]  # fmt: skip


@pytest.mark.parametrize("place", places(offer_document()), ids=str)
def test_the_parser_and_the_model_accept_the_same(place: tuple[Any, ...]) -> None:
    """Law: the form of an offer is what the page says, read twice by two people."""
    for change in VALUES:
        document = changed(offer_document(), place, change)
        try:
            OfferModel.model_validate(document)
            modelled = True
        except ValidationError:
            modelled = False
        try:
            parse_offer(canonical.encode(document))
            outcome = "accepted"
        except RemoteError as refusal:
            outcome = refusal.reason
        assert outcome in {"accepted", "offer_malformed", "text_deceptive"} | BETWEEN_ITEMS
        assert (outcome in {"accepted"} | BETWEEN_ITEMS) == modelled, change


def test_what_is_no_object_is_no_offer() -> None:
    for document in VALUES:
        with pytest.raises(RemoteError) as refusal:
            parse_offer(canonical.encode(document))
        assert refusal.value.reason == "offer_malformed"


SEALED = offer_document(**sealed_to())
KEY_VALUES = [
    *VALUES[:16],
    *["drop", "rename", "twice"],
    "=" + SEALED["sealed_to"]["kid"],
    "=" + SEALED["sealed_to"]["key"],
]
KEY_PLACES = [("v",), ("sealed_to",), ("sealed_to", "key"), ("sealed_to", "kid")]


@pytest.mark.parametrize("place", KEY_PLACES, ids=str)
def test_the_parser_and_the_model_accept_the_same_of_a_sealed_offer(place: tuple[Any, ...]) -> None:
    for change in KEY_VALUES:
        document = changed(SEALED, place, change)
        try:
            SealedOfferModel.model_validate(document)
            modelled = True
        except ValidationError:
            modelled = False
        try:
            offer = parse_offer(canonical.encode(document))
            assert offer.sealed_to == RECIPIENT_KEY.public
            outcome = "accepted"
        except RemoteError as refusal:
            outcome = refusal.reason
        assert outcome in {"accepted", "offer_malformed", "offer_key"}
        assert (outcome == "accepted") == modelled, change


@pytest.mark.parametrize(
    ("member", "value", "sentence"),
    [
        ("key", 7, "sealed_to.key: a text has not its prescribed form"),
        ("key", "=" + SEALED["sealed_to"]["key"][:40], "sealed_to.key: a public key has 32 bytes"),
        ("kid", "=" + "0" * 16, "sealed_to.kid: is not the id of this key"),
    ],
)
def test_what_is_wrong_with_a_sealing_key_says_where(member: str, value: Any, sentence: str) -> None:
    with pytest.raises(RemoteError, match=f"^{sentence}"):
        parse_offer(canonical.encode(changed(SEALED, ("sealed_to", member), value)))


def test_what_is_parsed_is_what_stands_there() -> None:
    """Every member of the example, by hand."""
    offer = parse_offer(OFFER)
    assert (offer.id, offer.hash) == (offer_document()["id"], offer_hash(OFFER))
    assert (offer.retention_days, offer.valid_days, offer.replay_ms, offer.storage_location) == (90, 365, 0, "DE")
    assert (offer.purpose_code, offer.recipient_name) == ("dpv:VehicleMaintenance", "Werkstatt Süd")
    assert offer.incentive is not None and offer.incentive.ends == "with_consent"
    assert [one.path or one.category for one in offer.items] == [
        ODOMETER,
        SPEED,
        "Vehicle.LowVoltageSystemState",
        Category.MAINTENANCE,
    ]
    assert [one.need for one in offer.items] == ["required", "optional", "condition", "optional"]
    assert offer.items[1].when == (Condition("Vehicle.LowVoltageSystemState", ">=", "2"),)
    assert offer.items[3].delivery_class is DeliveryClass.EVENT
    assert offer.items[1].transform.interval_ms == 1000


def test_one_changed_byte_is_another_offer() -> None:
    """A record names the very bytes."""
    assert offer_hash(OFFER) != offer_hash(OFFER.replace(b"10 %", b"11 %"))


@pytest.mark.parametrize(
    "character", "\u0000\u001b\u007f\u00ad\u061c\u200b\u200e\u2028\u202e\u2066\ufeff\ue000\U000e0041"
)
def test_no_character_that_cannot_be_seen(character: str) -> None:
    """Invisible, private, or turning the direction of what follows."""
    with pytest.raises(RemoteError) as refusal:
        parse_offer(offer_bytes(reveals=f"no{character}thing"))
    assert refusal.value.reason == "text_deceptive"


def test_a_fine_cell_hidden_behind_a_coarse_one_is_refused() -> None:
    """Latitude to 1 km and longitude to 1 m is a line on the map."""
    cells = [item(LATITUDE, transform={"cell_m": 1000}), item(LONGITUDE, transform={"cell_m": 1})]
    with pytest.raises(RemoteError) as refusal:
        parse_offer(offer_bytes(items=cells))
    assert refusal.value.reason == "offer_cell"


def test_256_items_and_8_conditions_pass() -> None:
    """The bounds themselves."""
    paths = [f"Vehicle.Private.b.d.m.s{n}" for n in range(256)]
    wide = [item(path) for path in paths]
    wide[0]["when"] = [when(path, "==", "1") for path in paths[1:9]]
    assert len(parse_offer(offer_bytes(items=wide)).items) == 256
    wide[0]["when"].append(when(paths[9], "==", "1"))
    with pytest.raises(RemoteError):
        parse_offer(offer_bytes(items=wide))


def test_the_kit_is_not_changed_by_a_test() -> None:
    """Every test starts from the same offer."""
    assert items() == offer_document()["items"]


def _written(place: tuple[Any, ...]) -> str:
    """A place as a refusal names it: ``items[3].path``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".")


WITH_ALL = offer_document(
    items=[
        item(ODOMETER, transform={"interval_ms": 60_000, "dead_band": "2", "round": "0.5", "on_change": True}),
        item(SPEED, transform={"aggregate": {"window_ms": 1000, "fields": ["min"]}}, when=[when(ODOMETER, ">", "1")]),
        item(LATITUDE, transform={"cell_m": 100}),
        item(LONGITUDE, transform={"cell_m": 100}),
    ]
)
INSIDE = [f"items[{n}].transform.{key}" for n, one in enumerate(WITH_ALL["items"]) for key in one["transform"]]


@pytest.mark.parametrize("change", [{"canary": ["canary"]}, "drop"], ids=["wrong", "missing"])
@pytest.mark.parametrize("place", places(WITH_ALL), ids=_written)
def test_a_refusal_says_where_in_the_document_the_fault_lies(place: tuple[Any, ...], change: Any) -> None:
    """And shows nothing of what stands there. An item less is no fault."""
    if change == "drop" and not isinstance(place[-1], str):
        return
    with pytest.raises(RemoteError) as refused:
        parse_offer(canonical.encode(changed(WITH_ALL, place, change)))
    said = str(refused.value).partition(": ")[0]
    assert said == _written(place) or said.startswith(f"{_written(place)}.")
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("inside", INSIDE)
def test_a_refusal_of_a_transform_names_its_member(inside: str) -> None:
    number, key = int(inside[6]), inside.rpartition(".")[2]
    wrong = [dict(each) for each in WITH_ALL["items"]]
    wrong[number]["transform"] = {**wrong[number]["transform"], key: {"canary": 1}}
    with pytest.raises(RemoteError) as refused:
        parse_offer(offer_bytes(items=wrong))
    assert str(refused.value).startswith(f"{inside}: ") and refused.value.reason == "transform_malformed"


LOOKS = item(SPEED, when=[when(ODOMETER, ">", "1")])


@pytest.mark.parametrize(
    ("wrong", "reason", "place"),
    [
        (
            [item(SPEED), item(ODOMETER), item(SPEED, "optional")],
            "offer_duplicate",
            "items[2]: is equal to items[0] in",
        ),
        ([item(SPEED), item("unmapped")], "offer_unmapped", "items[1].category: "),
        ([item(SPEED, when=[when(ODOMETER, ">", "1")])], "offer_condition", "items[0].when[0].path: "),
        ([item(SPEED), item(ODOMETER, "condition")], "offer_condition", "items[1]: "),
        ([LOOKS, item(ODOMETER, "condition", transform={"round": "1"})], "offer_condition", "items[1]: "),
        ([LOOKS, item(ODOMETER, "condition", when=[when(SPEED, ">", "1")])], "offer_condition", "items[1]: "),
        ([LOOKS, item(ODOMETER, "condition", **{"class": "live"})], "offer_condition", "items[1]: "),
        ([LOOKS, item(ODOMETER), item("maintenance", "condition")], "offer_condition", "items[2]: "),
        ([item(SPEED), item(LONGITUDE, transform={"cell_m": 5})], "offer_cell", "items[1].transform.cell_m: "),
        ([item(SPEED, transform={"cell_m": 5})], "transform_impossible", "items[0].transform: "),
        ([item(SPEED, "condition")], "offer_empty", "items: "),
        ([item("Vehiсle.Speed")], "offer_malformed", "items[0].path: "),
        ([item("drivіng")], "offer_malformed", "items[0].category: "),
        ([{"need": "required"}], "offer_malformed", "items[0].path: is missing"),
        ([{**item(SPEED), "category": "driving"}], "offer_malformed", "items[0]: has a member that is not known"),
        ([item(SPEED)] * 10_000, "json_size", "a document has more than 65536 bytes"),
        ([item(SPEED)] * 500, "offer_malformed", "items: a list has not 1 to 256 items"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_must_hold_between_items_names_the_item(wrong: list[Any], reason: str, place: str) -> None:
    """Also where a letter of another script stands in a path."""
    with pytest.raises(RemoteError) as refused:
        parse_offer(offer_bytes(items=wrong))
    assert (refused.value.reason, str(refused.value)[: len(place)]) == (reason, place)
