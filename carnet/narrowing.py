"""What the car may collect: grants, narrowed by the driver's mode and by the ceiling that is set in the car alone.

Law: the narrowest wins, and whatever is blocked has one reason that is told without looking at a value. Mode and
ceiling take away and never add.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from carnet.grants import Grant, GrantItem
from carnet.signals import Category, Sensitivity
from carnet.states import EventKind, State


class Mode(StrEnum):
    """What the driver has set in the car."""

    NORMAL = "normal"
    NO_LOCATION = "no_location"
    GUEST = "guest"
    OFF = "off"


class BlockReason(StrEnum):
    """Who or what keeps a signal from a recipient; in the order in which they are asked."""

    OFFER = "offer"
    OWNER = "owner"
    OPERATOR = "operator"
    TENURE = "tenure"
    RECIPIENT = "recipient"
    TIME = "time"
    DRIVER = "driver"
    CEILING = "ceiling"
    VEHICLE = "vehicle"


@dataclass(frozen=True, slots=True)
class Kind:
    """What the unit's mapping says about a signal."""

    category: Category
    sensitivity: Sensitivity


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What this car ever gives, whoever asks: from the unit's configuration, and lower still by whoever is at the
    car.
    """

    categories: frozenset[Category] = frozenset(Category)
    sensitivity: Sensitivity = Sensitivity.SPECIAL
    """The highest that may be collected."""
    interval_ms_min: Mapping[Category, int] = field(default_factory=lambda: MappingProxyType({}))
    """Least time between two samples of a signal, before any transform."""

    def under(self, other: Ceiling) -> Ceiling:
        """What both let through: the lower of the two in everything."""
        intervals = [*self.interval_ms_min.items(), *other.interval_ms_min.items()]
        least = {category: max(ms for one, ms in intervals if one is category) for category, _ in intervals}
        sensitivity = min(self.sensitivity, other.sensitivity, key=SENSITIVITIES.index)
        return Ceiling(self.categories & other.categories, sensitivity, MappingProxyType(least))


@dataclass(frozen=True, slots=True)
class Wanted:
    """One signal to collect (or, if ``item.condition_only``, to look at) for one record."""

    record_id: str
    path: str
    category: Category
    item: GrantItem
    interval_ms_min: int
    """Thin the signal to this before the item's transform; 0 is as it comes, and always so for a condition."""
    sealed_to: bytes | None = None
    """The recipient's public key, if only it may open the readings."""


@dataclass(frozen=True, slots=True)
class Block:
    """One signal that is not collected for one record, and why."""

    record_id: str
    path: str
    reason: BlockReason


SENSITIVITIES: Final = (Sensitivity.LOW, Sensitivity.PERSONAL, Sensitivity.SPECIAL)
"""From the least to the most private."""

SILENCED_BY: Final = MappingProxyType(
    {
        EventKind.PAUSE: BlockReason.OWNER,
        EventKind.WITHDRAW: BlockReason.OWNER,
        EventKind.SUSPEND: BlockReason.OPERATOR,
        EventKind.REVOKE: BlockReason.OPERATOR,
        EventKind.INVALIDATE: BlockReason.TENURE,
        EventKind.TERMINATE: BlockReason.RECIPIENT,
    }
)
"""The event that silenced a record -> who is behind it."""

_NOT_FOR_GUESTS: Final = frozenset({Category.LOCATION, Category.IDENTITY, Category.UNMAPPED})


def narrow(
    grants: Iterable[Grant], catalogue: Mapping[str, Kind], mode: Mode, ceiling: Ceiling, now_ms: int | None
) -> tuple[Wanted, ...]:
    """Everything to collect, in the order of the grants, their items (conditions last) and the paths.

    ``catalogue`` has every signal of the car by its path. ``now_ms`` is the latest that it can be in ms since 1970;
    None if the car has no idea: then the events alone decide, and the caller has a bound of its own.
    """
    found: list[Wanted] = []
    for grant in grants:
        if silenced_by(grant, now_ms) is None:
            found += _wanted(grant, catalogue, mode, ceiling)
    return tuple(found)


def explain(
    grants: Iterable[Grant], catalogue: Mapping[str, Kind], mode: Mode, ceiling: Ceiling, now_ms: int | None
) -> Iterator[Block]:
    """Why nothing of a signal is sent: for every grant, each signal of the car and each granted path that the car has
    not.
    """
    for grant in grants:
        silenced = silenced_by(grant, now_ms)
        wanted = () if silenced else _wanted(grant, catalogue, mode, ceiling)
        sent = {one.path for one in wanted if not one.item.condition_only}
        asked = {item.path for item in (*grant.items, *grant.declined) if item.path is not None}
        for path in sorted({*catalogue, *asked} - sent):
            reason = _not_asked(grant, path, catalogue) or silenced or _barrier(path, catalogue, mode, ceiling)
            # nothing against the signal itself: then a condition of every item that asks for it cannot be judged
            yield Block(grant.record_id, path, reason or _condition_barrier(grant, path, catalogue, mode, ceiling))


def silenced_by(grant: Grant, now_ms: int | None) -> BlockReason | None:
    """Who or what silences a whole grant; None if it is in force."""
    if grant.state is not State.GIVEN:
        return SILENCED_BY[grant.narrowed_by] if grant.narrowed_by else BlockReason.OPERATOR
    return None if now_ms is None or grant.allows(now_ms) else BlockReason.TIME


def barred_by(kind: Kind, mode: Mode, ceiling: Ceiling) -> BlockReason | None:
    """Whether the driver or the ceiling keeps such a signal in the car, whoever asks."""
    for_guests = kind.sensitivity is Sensitivity.LOW and kind.category not in _NOT_FOR_GUESTS
    if (
        mode is Mode.OFF
        or (mode is Mode.NO_LOCATION and kind.category is Category.LOCATION)
        or (mode is Mode.GUEST and not for_guests)
    ):
        return BlockReason.DRIVER
    too_private = SENSITIVITIES.index(kind.sensitivity) > SENSITIVITIES.index(ceiling.sensitivity)
    return BlockReason.CEILING if too_private or kind.category not in ceiling.categories else None


def _wanted(grant: Grant, catalogue: Mapping[str, Kind], mode: Mode, ceiling: Ceiling) -> list[Wanted]:
    """What a grant in force wants: the items that are sent, and the conditions that these still need."""
    needed: set[str] = set()
    found: list[Wanted] = []
    for item in sorted(grant.items, key=lambda item: item.condition_only):
        conditions = {condition.path for condition in item.when}
        if any(_barrier(path, catalogue, mode, ceiling) for path in conditions):
            continue
        for path in (item.path,) if item.path is not None else sorted(catalogue):
            kind = catalogue.get(path)
            if kind is None or not item.matches(path, kind.category) or barred_by(kind, mode, ceiling):
                continue
            if item.condition_only and path not in needed:
                continue
            needed |= conditions
            interval_ms = 0 if item.condition_only else ceiling.interval_ms_min.get(kind.category, 0)
            found.append(Wanted(grant.record_id, path, kind.category, item, interval_ms, grant.sealed_to))
    return found


def _barrier(path: str, catalogue: Mapping[str, Kind], mode: Mode, ceiling: Ceiling) -> BlockReason | None:
    kind = catalogue.get(path)
    return BlockReason.VEHICLE if kind is None else barred_by(kind, mode, ceiling)


def _condition_barrier(
    grant: Grant, path: str, catalogue: Mapping[str, Kind], mode: Mode, ceiling: Ceiling
) -> BlockReason:
    items = [item for item in grant.items if _asks(item, path, catalogue)]
    barriers = {_barrier(condition.path, catalogue, mode, ceiling) for item in items for condition in item.when}
    return min((one for one in barriers if one is not None), key=list(BlockReason).index)


def _not_asked(grant: Grant, path: str, catalogue: Mapping[str, Kind]) -> BlockReason | None:
    if any(_asks(item, path, catalogue) for item in grant.items):
        return None
    declined = any(_asks(item, path, catalogue) for item in grant.declined)
    return BlockReason.OWNER if declined else BlockReason.OFFER


def _asks(item: GrantItem, path: str, catalogue: Mapping[str, Kind]) -> bool:
    """Whether an item asks for the path to be sent."""
    kind = catalogue.get(path)
    meant = item.path == path if kind is None else item.matches(path, kind.category)
    return meant and not item.condition_only
