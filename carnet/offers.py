"""Offers: what a recipient asks for, why, for how long, and what the owner gets for it. The form is in
``docs/consent.md``.

Law: an `Offer` that exists is valid. Its bytes are kept as they came, and its hash is of those bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, cast

from carnet import canonical, fields, hashes, ids, jws
from carnet.errors import ConsentError, FormatError
from carnet.keys import KID_BYTES, check_box_public, key_id
from carnet.refusals import Members, at, decimal, identity, integer, refused_as, text_for_people
from carnet.signals import Category, DeliveryClass, check_path
from carnet.transforms import LATITUDE, LONGITUDE, Transform

OFFER_BYTES_MAX: Final = 65_536
ITEMS_MAX: Final = 256
CONDITIONS_MAX: Final = 8
NAME_BYTES_MAX: Final = 128
VALUE_BYTES_MAX: Final = 256
TEXT_BYTES_MAX: Final = 2048
RETENTION_DAYS_MAX: Final = 3650
VALID_DAYS_MAX: Final = 365
REPLAY_MS_MAX: Final = 7 * 86_400_000

Need = Literal["required", "optional", "condition"]
Operator = Literal["<", "<=", "==", "!=", ">=", ">"]
NEEDS: Final = ("required", "optional", "condition")
OPERATORS: Final = ("<", "<=", "==", "!=", ">=", ">")
INCENTIVE_KINDS: Final = ("discount", "payment", "service", "goods")
INCENTIVE_ENDS: Final = ("with_consent", "never")

_PURPOSE_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9:_.-]{0,63}", re.ASCII)
_LOCATION: Final = re.compile(r"[A-Z]{2}(?:-[A-Z0-9]{1,3})?", re.ASCII)
_MEMBERS: Final = (
    "v", "type", "id", "tenant", "recipient", "recipient_name", "purpose", "items", "reveals", "retention_days",
    "valid_days", "storage_location", "incentive", "replay_ms", "created_ms",
)  # fmt: skip
SEALED_VERSION: Final = 2
"""Of an offer that says to which key its readings are sealed."""
_ITEM_MEMBERS: Final = ("need", "transform", "class", "when")


@dataclass(frozen=True, slots=True)
class Condition:
    """``path op value`` in the signal's unit; ``value`` is decimal text."""

    path: str
    op: Operator
    value: str


@dataclass(frozen=True, slots=True)
class OfferItem:
    """One thing asked for: exactly one of ``path`` and ``category`` is not None."""

    path: str | None
    category: Category | None
    need: Need
    transform: Transform
    delivery_class: DeliveryClass
    when: tuple[Condition, ...]

    @property
    def is_sent(self) -> bool:
        """Whether it leaves the car; a condition item is only looked at."""
        return self.need != "condition"


@dataclass(frozen=True, slots=True)
class Incentive:
    """What the owner gets. There is no form for taking back what was earned."""

    kind: str
    value: str
    ends: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A parsed offer; ``hash`` is of its bytes, in hexadecimal."""

    id: str
    hash: str
    tenant: str
    recipient: str
    recipient_name: str
    purpose_code: str
    purpose_text: str
    items: tuple[OfferItem, ...]
    reveals: str
    retention_days: int
    valid_days: int
    storage_location: str
    incentive: Incentive | None
    replay_ms: int
    created_ms: int
    sealed_to: bytes | None = None
    """The recipient's public key, if nobody but the recipient is to open the readings."""


def offer_hash(data: bytes) -> str:
    """The hash by which a record names an offer."""
    return hashes.digest(hashes.OFFER, data).hex()


def parse_offer(data: bytes) -> Offer:
    """The offer in ``data``; canonical JSON's reasons, ``text_deceptive``, ``transform_…`` or ConsentError
    ``offer_…``, which say where in the document, like ``items[3].path``.
    """
    document = canonical.parse(data, OFFER_BYTES_MAX)
    is_sealed = isinstance(document, dict) and document.get("v") == SEALED_VERSION
    with refused_as("offer_malformed"):
        members = Members(document, "", *_MEMBERS, *(("sealed_to",) if is_sealed else ()))
        read = members.read
        read("v", integer, 1, SEALED_VERSION)
        read("type", fields.choice, "offer")
        purpose = Members(members.value("purpose"), "purpose", "code", "text")
        found = Offer(
            id=read("id", identity, ids.OFFER),
            hash=offer_hash(data),
            tenant=read("tenant", identity, ids.TENANT),
            recipient=read("recipient", identity, ids.RECIPIENT),
            recipient_name=read("recipient_name", text_for_people, NAME_BYTES_MAX),
            purpose_code=purpose.read("code", _formed, _PURPOSE_CODE, "a term like dpv:VehicleMaintenance"),
            purpose_text=purpose.read("text", text_for_people, TEXT_BYTES_MAX),
            items=tuple(_item(item, f"items[{n}]") for n, item in enumerate(read("items", fields.items, 1, ITEMS_MAX))),
            reveals=read("reveals", text_for_people, TEXT_BYTES_MAX),
            retention_days=read("retention_days", integer, 1, RETENTION_DAYS_MAX),
            valid_days=read("valid_days", integer, 1, VALID_DAYS_MAX),
            storage_location=read("storage_location", _formed, _LOCATION, "an ISO 3166 code like DE, EU or US-CA"),
            incentive=_incentive(members.value("incentive")),
            replay_ms=read("replay_ms", integer, 0, REPLAY_MS_MAX),
            created_ms=read("created_ms", integer, 0),
            sealed_to=_sealing_key(members.value("sealed_to")) if is_sealed else None,
        )
    _check_items(found.items)
    return found


def conditions_of(items: tuple[OfferItem, ...]) -> frozenset[str]:
    """Every path that a ``when`` of these items names."""
    return frozenset(condition.path for item in items for condition in item.when)


def cells_paired(items: tuple[OfferItem, ...]) -> bool:
    """Whether every cell stands for both latitude and longitude, in the same way: half a cell would be a line on the
    map.
    """
    return _half_cell(items) is None


def _half_cell(items: tuple[OfferItem, ...]) -> int | None:
    """The first item that is one half of a cell without the other."""
    halves = {
        (item.path, item.transform, item.need, item.delivery_class, item.when): number
        for number, item in enumerate(items)
        if item.transform.cell_m is not None
    }
    other: dict[str | None, str] = {LATITUDE: LONGITUDE, LONGITUDE: LATITUDE}
    return next((n for (path, *way), n in halves.items() if (other.get(path), *way) not in halves), None)


def _item(value: object, place: str) -> OfferItem:
    target = "category" if isinstance(value, dict) and "category" in value else "path"
    members = Members(value, place, target, *_ITEM_MEMBERS)
    path = members.read("path", _path) if target == "path" else None
    transform = Transform.parse(members.value("transform"), members.place_of("transform"))
    with at(members.place_of("transform")):
        transform.check_path(path)
    when = members.read("when", fields.items, 0, CONDITIONS_MAX)
    return OfferItem(
        path=path,
        category=None if target == "path" else Category(members.read("category", fields.choice, *Category)),
        need=cast("Need", members.read("need", fields.choice, *NEEDS)),
        transform=transform,
        delivery_class=DeliveryClass(members.read("class", fields.choice, *DeliveryClass)),
        when=tuple(_condition(condition, f"{place}.when[{number}]") for number, condition in enumerate(when)),
    )


def _condition(value: object, place: str) -> Condition:
    members = Members(value, place, "path", "op", "value")
    op = cast("Operator", members.read("op", fields.choice, *OPERATORS))
    return Condition(members.read("path", _path), op, members.read("value", decimal))


def _path(value: object) -> str:
    return check_path(str(value))


def _formed(value: object, pattern: re.Pattern[str], form: str) -> str:
    """A text that matches ``pattern``, which ``form`` tells in words."""
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise FormatError("body_malformed", f"is not {form}")
    return value


def _sealing_key(value: object) -> bytes:
    """A public key with its id, which shows that nobody mistyped it: what is sealed to such a key opens for nobody."""
    members = Members(value, "sealed_to", "key", "kid")
    public = jws.base64url_bytes(members.read("key", fields.text, jws.BASE64URL))
    kid = members.read("kid", fields.hex_bytes, KID_BYTES)
    try:
        check_box_public(public)
    except FormatError as error:
        raise ConsentError("offer_key", f"sealed_to.key: {error}") from None
    if key_id(public) != kid:
        raise ConsentError("offer_key", "sealed_to.kid: is not the id of this key: one of the two was mistyped")
    return public


def _incentive(value: object) -> Incentive | None:
    if value is None:
        return None
    members = Members(value, "incentive", "kind", "value", "ends")
    return Incentive(
        members.read("kind", fields.choice, *INCENTIVE_KINDS),
        members.read("value", text_for_people, VALUE_BYTES_MAX),
        members.read("ends", fields.choice, *INCENTIVE_ENDS),
    )


def _check_items(items: tuple[OfferItem, ...]) -> None:
    """What must hold between the items of an offer."""
    if not any(item.is_sent for item in items):
        raise ConsentError("offer_empty", "items: nothing that the offer asks for can be sent, all are conditions")
    _check_different(items)
    for number, item in enumerate(items):
        if item.category is Category.UNMAPPED:
            place = f"items[{number}].category"
            raise ConsentError("offer_unmapped", f"{place}: what nobody has mapped can only be asked for by its path")
    _check_conditions(items)
    half = _half_cell(items)
    if half is not None:
        place = f"items[{half}].transform.cell_m"
        raise ConsentError("offer_cell", f"{place}: a cell is for latitude and longitude together, in the same way")


def _check_different(items: tuple[OfferItem, ...]) -> None:
    first_of: dict[object, int] = {}
    for number, item in enumerate(items):
        asked = (item.path, item.category, item.transform, item.delivery_class, item.when)
        first = first_of.setdefault(asked, number)
        if first != number:
            raise ConsentError(
                "offer_duplicate",
                f"items[{number}]: is equal to items[{first}] in path or category, transform, class and when",
            )


def _check_conditions(items: tuple[OfferItem, ...]) -> None:
    paths = {item.path for item in items}
    for number, item in enumerate(items):
        for at_number, condition in enumerate(item.when):
            if condition.path not in paths:
                place = f"items[{number}].when[{at_number}].path"
                raise ConsentError("offer_condition", f"{place}: is not the path of an item of this offer")
    needed = conditions_of(items)
    for number, item in enumerate(items):
        if not item.is_sent and not _is_plain_condition(item, needed):
            raise ConsentError(
                "offer_condition",
                f"items[{number}]: a condition has a path that some other item's when names, transform {{}}, class "
                "background and no when",
            )


def _is_plain_condition(item: OfferItem, needed: frozenset[str]) -> bool:
    plain = item.transform == Transform() and not item.when and item.delivery_class is DeliveryClass.BACKGROUND
    return plain and item.path in needed
