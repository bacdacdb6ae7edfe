"""Wants: from what grants allow to the columns that the car computes, each once for all records that get exactly it.

Law: a column exists only because of a grant; what is only a condition never becomes one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from carnet.ids import RECORD, parse_id
from carnet.narrowing import Kind, Wanted
from carnet.signals import DeliveryClass
from carnet.transforms import LATITUDE, LONGITUDE, Transform
from carnet_agent.collect.conditions import Whens
from carnet_agent.dbc.mapping import MappedSignal


@dataclass(frozen=True, slots=True)
class ColumnKey:
    """What a column is; equal keys keep their state over a change of grants."""

    signal: int
    """Index in the plan."""
    transform: Transform
    delivery_class: DeliveryClass
    records: tuple[bytes, ...]
    """Ascending ids of ten bytes."""
    interval_ms_min: int
    whens: Whens
    """Alternatives; empty: unconditional."""
    sealed_to: bytes | None = None
    """The key of the one recipient that may open it; None: the cloud's, as everything else."""


def index_paths(mapped: Sequence[MappedSignal]) -> dict[str, int]:
    """Path -> plan signal; the first signal with a path speaks for it."""
    found: dict[str, int] = {}
    for signal, one in enumerate(mapped):
        found.setdefault(one.path, signal)
    return found


def catalogue(mapped: Sequence[MappedSignal], signals: Mapping[str, int]) -> dict[str, Kind]:
    """What `carnet.narrowing` must know about every path."""
    return {path: Kind(mapped[signal].category, mapped[signal].sensitivity) for path, signal in signals.items()}


def signals_of(wanted: Iterable[Wanted], signals: Mapping[str, int]) -> frozenset[int]:
    """Every plan signal that is collected or looked at."""
    return frozenset(signals[one.path] for one in wanted)


def columns_of(wanted: Sequence[Wanted], signals: Mapping[str, int]) -> tuple[ColumnKey, ...]:
    """The columns, in the order of signals, transforms and classes."""
    looked_at = {(one.record_id, one.path) for one in wanted}
    cells = {(one.record_id, one.item.transform) for one in wanted if one.path == LATITUDE}
    asked: defaultdict[tuple[str, int, Transform, DeliveryClass, int], set[Whens]] = defaultdict(set)
    for one in wanted:
        item = one.item
        if item.condition_only or any((one.record_id, condition.path) not in looked_at for condition in item.when):
            continue
        if item.transform.cell_m is not None and one.path == LONGITUDE and (one.record_id, item.transform) not in cells:
            continue
        key = one.record_id, signals[one.path], item.transform, item.delivery_class, one.interval_ms_min
        asked[key].add((item.when,))
    sealed = {one.record_id: one.sealed_to for one in wanted if one.sealed_to is not None}
    keys: list[ColumnKey] = []
    together: defaultdict[tuple[int, Transform, DeliveryClass, int, Whens], set[bytes]] = defaultdict(set)
    for (record, signal, transform, delivery_class, interval_ms), alternatives in asked.items():
        whens, name = _alternatives(alternatives), parse_id(record, RECORD)
        if record in sealed:
            # its own, however alike it is to what others get
            keys.append(ColumnKey(signal, transform, delivery_class, (name,), interval_ms, whens, sealed[record]))
        else:
            together[signal, transform, delivery_class, interval_ms, whens].add(name)
    keys += [
        ColumnKey(signal, transform, delivery_class, tuple(sorted(records)), interval_ms, whens)
        for (signal, transform, delivery_class, interval_ms, whens), records in together.items()
    ]
    return tuple(sorted(keys, key=_order))


def _alternatives(asked: Iterable[Whens]) -> Whens:
    whens = {when for one in asked for when in one}
    return () if () in whens else tuple(sorted(whens, key=repr))


def _order(key: ColumnKey) -> tuple[int, bytes, str, tuple[bytes, ...], int, str]:
    transform = key.transform.canonical()
    return key.signal, transform, key.delivery_class, key.records, key.interval_ms_min, repr(key.whens)
