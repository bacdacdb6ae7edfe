"""Offers: what a recipient asks for, why, for how long, and what the owner gets for it. The form is in
``docs/consent.md``.

Law: an `Offer` that exists is valid. Its bytes are kept as they came, and its hash is of those bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, cast

from carnet import canonical, fields, hashes, ids
from carnet.errors import ConsentError
from carnet.refusals import decimal, identity, integer, named_members, refused_as, text_for_people
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


def offer_hash(data: bytes) -> str:
    """The hash by which a record names an offer."""
    return hashes.digest(hashes.OFFER, data).hex()


def parse_offer(data: bytes) -> Offer:
    """The offer in ``data``; canonical JSON's reasons, ``text_deceptive``, ``transform_…`` or ConsentError
    ``offer_…``.
    """
    document = canonical.parse(data, OFFER_BYTES_MAX)
    with refused_as("offer_malformed"):
        members = named_members(document, *_MEMBERS)
        integer(members["v"], 1, 1)
        fields.choice(members["type"], "offer")
        purpose_code, purpose_text = fields.members(members["purpose"], "code", "text")
        found = Offer(
            id=identity(members["id"], ids.OFFER),
            hash=offer_hash(data),
            tenant=identity(members["tenant"], ids.TENANT),
            recipient=identity(members["recipient"], ids.RECIPIENT),
            recipient_name=text_for_people(members["recipient_name"], NAME_BYTES_MAX),
            purpose_code=fields.text(purpose_code, _PURPOSE_CODE),
            purpose_text=text_for_people(purpose_text, TEXT_BYTES_MAX),
            items=tuple(_item(item) for item in fields.items(members["items"], 1, ITEMS_MAX)),
            reveals=text_for_people(members["reveals"], TEXT_BYTES_MAX),
            retention_days=integer(members["retention_days"], 1, RETENTION_DAYS_MAX),
            valid_days=integer(members["valid_days"], 1, VALID_DAYS_MAX),
            storage_location=fields.text(members["storage_location"], _LOCATION),
            incentive=_incentive(members["incentive"]),
            replay_ms=integer(members["replay_ms"], 0, REPLAY_MS_MAX),
            created_ms=integer(members["created_ms"], 0),
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
    halves: dict[str, list[object]] = {LATITUDE: [], LONGITUDE: []}
    for item in items:
        if item.transform.cell_m is not None and item.path in halves:
            halves[item.path].append((item.transform, item.need, item.delivery_class, item.when))
    return len(halves[LATITUDE]) == len(halves[LONGITUDE]) and all(
        half in halves[LONGITUDE] for half in halves[LATITUDE]
    )


def _item(value: object) -> OfferItem:
    target = "path" if isinstance(value, dict) and "path" in value else "category"
    name, need, transform, delivery_class, when = fields.members(value, target, *_ITEM_MEMBERS)
    path = _path(name) if target == "path" else None
    parsed = Transform.parse(transform)
    parsed.check_path(path)
    return OfferItem(
        path=path,
        category=None if target == "path" else Category(fields.choice(name, *Category)),
        need=cast("Need", fields.choice(need, *NEEDS)),
        transform=parsed,
        delivery_class=DeliveryClass(fields.choice(delivery_class, *DeliveryClass)),
        when=tuple(_condition(condition) for condition in fields.items(when, 0, CONDITIONS_MAX)),
    )


def _condition(value: object) -> Condition:
    path, op, number = fields.members(value, "path", "op", "value")
    return Condition(_path(path), cast("Operator", fields.choice(op, *OPERATORS)), decimal(number))


def _path(value: object) -> str:
    return check_path(value if isinstance(value, str) else "")


def _incentive(value: object) -> Incentive | None:
    if value is None:
        return None
    kind, worth, ends = fields.members(value, "kind", "value", "ends")
    return Incentive(
        fields.choice(kind, *INCENTIVE_KINDS),
        text_for_people(worth, VALUE_BYTES_MAX),
        fields.choice(ends, *INCENTIVE_ENDS),
    )


def _check_items(items: tuple[OfferItem, ...]) -> None:
    """What must hold between the items of an offer."""
    if not any(item.is_sent for item in items):
        raise ConsentError("offer_empty", "nothing that an offer asks for can be sent")
    if len({(item.path, item.category, item.transform, item.delivery_class, item.when) for item in items}) < len(items):
        raise ConsentError("offer_duplicate", "two items of an offer are equal")
    if any(item.category is Category.UNMAPPED for item in items):
        raise ConsentError("offer_unmapped", "what nobody has mapped can only be asked for by its path")
    needed = conditions_of(items)
    if not needed <= {item.path for item in items}:
        raise ConsentError("offer_condition", "a condition is on a path that is no item of the offer")
    for item in items:
        if not item.is_sent and not _is_plain_condition(item, needed):
            raise ConsentError("offer_condition", "a condition item has more than a path, or no other item needs it")
    if not cells_paired(items):
        raise ConsentError("offer_cell", "a cell is for latitude and longitude together")


def _is_plain_condition(item: OfferItem, needed: frozenset[str]) -> bool:
    plain = item.transform == Transform() and not item.when and item.delivery_class is DeliveryClass.BACKGROUND
    return plain and item.path is not None and item.path in needed
