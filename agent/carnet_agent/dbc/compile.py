"""Compile databases into a plan; slow and rare, the plan is cached.

Law: what cannot be part of the plan is returned as a loss, and the plan decodes the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from carnet_agent.dbc import j1939
from carnet_agent.dbc.database import Database, Loss, Message, Signal
from carnet_agent.dbc.plan import (
    STANDARD_IDS,
    Branches,
    Match,
    Plan,
    Planes,
    Roots,
    Rows,
    SignalInfo,
    Transported,
    needs,
)
from carnet_agent.frames import CLASSIC_WIDTH, FD_WIDTH

EXACT = 1 << 53
"""Up to here float64 holds every integer."""
ANY_BUS = ""


@dataclass(slots=True)
class _Builder:
    """Growing lists that become the plan's tables."""

    infos: list[SignalInfo] = field(default_factory=list)
    layouts: list[Signal] = field(default_factory=list)
    signal_group: list[int] = field(default_factory=list)
    group_parent: list[int] = field(default_factory=list)
    group_overlapping: list[bool] = field(default_factory=list)
    group_muxers: list[list[int]] = field(default_factory=list)
    muxers: list[Signal] = field(default_factory=list)
    branches: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    branch_overlapping: set[tuple[int, int]] = field(default_factory=set)
    losses: list[Loss] = field(default_factory=list)

    def new_group(self, parent: int, overlapping: bool) -> int:
        """Number of an empty group; parents come before children."""
        self.group_parent.append(parent)
        self.group_overlapping.append(overlapping)
        self.group_muxers.append([])
        return len(self.group_parent) - 1


def compile_plan(
    databases: Sequence[tuple[str, Database]], *, buses: Sequence[str] = (), match: Match = "id"
) -> tuple[Plan, tuple[Loss, ...]]:
    """The plan for these (bus, database) pairs, and what is not in it.

    An empty bus name stands for any bus; a database that names its bus wins over it, a later one over an earlier one.
    ``buses`` fixes the meaning of ``Frames.bus`` 0, 1, …; buses that databases name are appended to it.
    """
    named = dict.fromkeys([*buses, *(bus for bus, _ in databases if bus != ANY_BUS)])
    builder = _Builder()
    roots: dict[tuple[str, int, bool], int] = {}
    for bus, database in databases:
        for message in database.messages:
            root = _add_message(builder, bus, database.name, message)
            key = (bus, message.can_id, message.extended)
            if key in roots:
                reason = "another message with the same identifier on the same bus takes its place"
                builder.losses.append(Loss(0, _message_name(builder, roots[key]), reason))
            roots[key] = root
    messages = {
        (bus, message.can_id, message.extended): message for bus, database in databases for message in database.messages
    }
    transported = _transported(tuple(named), messages) if match == "isotp" else ()
    return _plan(builder, tuple(named), roots, match, transported), tuple(builder.losses)


def _transported(buses: tuple[str, ...], messages: dict[tuple[str, int, bool], Message]) -> tuple[Transported, ...]:
    """The messages that come over ISO-TP: those with a diagnostic identifier, and those that no frame can hold.

    A database that describes at most 8 bytes describes a single frame as it is on the bus, its length byte included;
    one that describes more can only mean the payload.
    """
    found: dict[tuple[int, int, bool], Transported] = {}
    for row, name in enumerate([*buses, ANY_BUS]):
        for scope in dict.fromkeys((ANY_BUS, name)):
            for (bus, can_id, extended), message in messages.items():
                too_long = message.length > (FD_WIDTH if message.is_fd else CLASSIC_WIDTH)
                if bus == scope and (too_long or is_diagnostic(can_id, extended)):
                    found[row, can_id, extended] = Transported(row, can_id, extended, message.length <= CLASSIC_WIDTH)
    return tuple(found.values())


def is_diagnostic(can_id: int, extended: bool) -> bool:
    """ISO 15765-4 gives this identifier to diagnostics: 7DF, 7E0 to 7EF, 18DAxxxx and 18DBxxxx."""
    if extended:
        return can_id >> 16 in (0x18DA, 0x18DB)
    return can_id == 0x7DF or 0x7E0 <= can_id <= 0x7EF


def _message_name(builder: _Builder, root: int) -> str:
    """Name of the message of a root group, for a loss."""
    names = [info.message for info, group in zip(builder.infos, builder.signal_group, strict=True) if group == root]
    return names[0] if names else "a message without signals"


def _add_message(builder: _Builder, bus: str, dbc: str, message: Message) -> int:
    """Add the message's signals and groups; returns its root group."""
    groups: dict[tuple[str | None, frozenset[int]], int] = {}
    muxer_number: dict[str, int] = {}
    root = builder.new_group(-1, _overlap([s for s in message.signals if s.multiplexer is None], message.length))
    groups[None, frozenset()] = root
    waiting = [(root, [s for s in message.signals if s.multiplexer is None])]
    placed: dict[str, int] = {}
    while waiting:
        group, members = waiting.pop(0)
        for signal in members:
            placed[signal.name] = group
            children = [s for s in message.signals if s.multiplexer == signal.name]
            if (
                signal.is_multiplexer
                and signal.name not in muxer_number
                and _add_muxer(builder, group, signal, children)
            ):
                muxer_number[signal.name] = len(builder.muxers) - 1
                waiting += _add_branches(builder, group, children, len(builder.muxers) - 1, message.length)
    for signal in message.signals:
        if signal.name not in placed:
            reason = f"its multiplexer {signal.multiplexer} cannot be read"
            builder.losses.append(Loss(0, f"{message.name}.{signal.name}", reason))
            continue
        builder.signal_group.append(placed[signal.name])
        builder.layouts.append(signal)
        builder.infos.append(_info(len(builder.infos), bus, dbc, message, signal))
    return root


def _add_muxer(builder: _Builder, group: int, signal: Signal, children: Iterable[Signal]) -> bool:
    """Register a multiplexer with its known values; one without any known value is an ordinary signal."""
    known = {raw for raw, _ in signal.labels}.union(*(child.selectors for child in children))
    if not known:
        return False
    number = len(builder.muxers)
    builder.muxers.append(signal)
    builder.group_muxers[group].append(number)
    for value in known:
        builder.branches[number, as_int64(value)] = []
    return True


def _add_branches(
    builder: _Builder, parent: int, children: Sequence[Signal], muxer: int, length: int
) -> list[tuple[int, list[Signal]]]:
    """Groups behind a multiplexer: children with the same selector values share one."""
    by_selectors: dict[frozenset[int], list[Signal]] = {}
    by_value: dict[int, list[Signal]] = {}
    for child in children:
        by_selectors.setdefault(child.selectors, []).append(child)
        for value in child.selectors:
            by_value.setdefault(as_int64(value), []).append(child)
    for value, present in by_value.items():
        if _overlap(present, length):
            builder.branch_overlapping.add((muxer, value))
    added = []
    for selectors, members in by_selectors.items():
        group = builder.new_group(parent, False)
        for value in selectors:
            builder.branches[muxer, as_int64(value)].append(group)
        added.append((group, members))
    return added


def as_int64(value: int) -> int:
    """The 64 bits of this integer as a signed one, as ``raw`` holds them."""
    return ((value + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)


def _overlap(signals: Iterable[Signal], length: int) -> bool:
    """Signals of one byte order overlap, or one hangs over the message's end: cantools does not unpack those."""
    for big_endian in (False, True):
        end = 0
        for signal in sorted((s for s in signals if s.big_endian is big_endian), key=lambda s: s.first_bit):
            if signal.first_bit < end or signal.end_bit > 8 * length:
                return True
            end = signal.end_bit
    return False


def _info(index: int, bus: str, dbc: str, message: Message, signal: Signal) -> SignalInfo:
    return SignalInfo(
        index=index,
        bus=bus,
        dbc=dbc,
        message=message.name,
        can_id=message.can_id,
        extended=message.extended,
        name=signal.name,
        unit=signal.unit,
        factor=signal.factor,
        offset=signal.offset,
        kind=signal.kind,
        bits=signal.bits,
        minimum=signal.minimum,
        maximum=signal.maximum,
        labels=dict(signal.labels),
        multiplexer=signal.multiplexer or "",
        is_multiplexer=signal.is_multiplexer,
    )


def _plan(
    builder: _Builder,
    buses: tuple[str, ...],
    roots: dict[tuple[str, int, bool], int],
    match: Match,
    transported: tuple[Transported, ...],
) -> Plan:
    scaled = np.array([info.factor != 1 or info.offset != 0 for info in builder.infos], bool)
    inexact = np.array([_inexact(info) for info in builder.infos], bool)
    rows = _rows(builder.layouts, builder.signal_group)
    # Rows that cross a word last, so that they are a slice; the scaled ones beside that border.
    order = np.lexsort((rows.crossing != scaled, rows.crossing))
    rows = rows.take(order)
    groups = len(builder.group_parent)
    group_need = needs(rows, groups)
    muxer_group = [group for group, muxers in enumerate(builder.group_muxers) for _ in muxers]
    return Plan(
        match=match,
        buses=buses,
        signals=tuple(builder.infos),
        row_signal=order.astype(np.int32),
        rows=rows,
        planes=Planes.of(rows),
        muxer_rows=_rows(builder.muxers, muxer_group),
        roots=_roots(builder, buses, roots, match),
        branches=_branches(builder),
        group_parent=np.array(builder.group_parent, np.int64),
        overlapping_roots=np.flatnonzero(np.array(builder.group_overlapping, bool)),
        factor=np.array([float(info.factor) for info in builder.infos], np.float64),
        offset=np.array([float(info.offset) for info in builder.infos], np.float64),
        scaled=scaled,
        inexact=inexact,
        has_inexact=bool(inexact.any()),
        crossing_from=int(np.count_nonzero(~rows.crossing)),
        group_need=group_need,
        longest=np.array(group_need.max(), np.uint8),
        has_multiplexers=bool(builder.muxers),
        transported=transported,
    )


def _rows(signals: Sequence[Signal], groups: Sequence[int]) -> Rows:
    """Shifts and masks of these signals, which belong to these groups."""
    cuts: list[tuple[int, int, int, int]] = []
    places: list[tuple[int, ...]] = []
    for signal, group in zip(signals, groups, strict=True):
        word, first = divmod(signal.first_bit, 64)
        over = first + signal.bits - 64
        crossing = over > 0
        # Put together, the bits of a crossing row are the lowest of its word.
        lowest = 0 if crossing else -over if signal.big_endian else first
        if signal.kind == "int":
            cuts.append((group, 64 - signal.bits - lowest, 64 - signal.bits, -1))
        else:
            cuts.append((group, 0, lowest, as_int64((1 << signal.bits) - 1)))
        head_and_next = (0, 0, 0, 0)
        if crossing:
            head_and_next = (over, 0, 0, 64 - over) if signal.big_endian else (0, first, 64 - first, 0)
        places.append((word, signal.big_endian, *head_and_next, crossing, signal.need))
    transposed = list(zip(*places, strict=True)) or [()] * 8
    types = (np.int64, np.int64, np.uint64, np.uint64, np.uint64, np.uint64, np.bool_, np.int64)
    cut = np.array(cuts, np.int64).reshape(-1, 4).T.copy()
    return Rows(
        np.array(groups, np.int64),
        cut,
        *(np.array(column, kind) for column, kind in zip(transposed, types, strict=True)),
    )


def _roots(builder: _Builder, buses: tuple[str, ...], roots: dict[tuple[str, int, bool], int], match: Match) -> Roots:
    none = len(builder.group_parent)
    kind = _group_type(builder)
    standard = np.full((len(buses) + 1) * STANDARD_IDS, none, kind)
    extended: dict[int, int] = {}
    pgns: dict[int, int] = {}
    for row, bus in enumerate([*buses, ANY_BUS]):
        # Any-bus messages first: a database that names the bus takes the identifier from them.
        for scope in dict.fromkeys((ANY_BUS, bus)):
            for (owner, can_id, is_extended), group in roots.items():
                if owner != scope:
                    continue
                if is_extended:
                    extended[row << 32 | can_id] = group
                    pgns[row << 32 | j1939.pgn(can_id)] = group
                else:
                    standard[row * STANDARD_IDS + can_id] = group
    if match != "pgn":
        pgns = {}
    return Roots(
        bus_base=np.arange(len(buses) + 1) * STANDARD_IDS,
        standard=standard,
        extended=np.array(sorted(extended), np.int64),
        extended_group=np.array([extended[key] for key in sorted(extended)], kind),
        pgn=np.array(sorted(pgns), np.int64),
        pgn_group=np.array([pgns[key] for key in sorted(pgns)], kind),
    )


def _group_type(builder: _Builder) -> type[np.uint16 | np.int64]:
    return np.uint16 if len(builder.group_parent) < np.iinfo(np.uint16).max else np.int64


def _branches(builder: _Builder) -> Branches:
    values = np.unique(np.array([value for _, value in builder.branches], np.int64))
    rank = {int(value): position for position, value in enumerate(values)}
    keyed = sorted((muxer * len(values) + rank[value], (muxer, value)) for muxer, value in builder.branches)
    children = [builder.branches[branch] for _, branch in keyed]
    counts = np.array([len(child) for child in children], np.int64)
    muxer_counts = [len(muxers) for muxers in builder.group_muxers]
    first = [muxers[0] if muxers else 0 for muxers in builder.group_muxers]
    return Branches(
        group_first=np.array([*first, 0], np.int64),
        group_count=np.array([*muxer_counts, 0], np.int64),
        value=values,
        key=np.array([key for key, _ in keyed], np.int64),
        child_first=np.cumsum(counts) - counts,
        child_count=counts,
        child=np.array([group for child in children for group in child], _group_type(builder)),
        overlapping=np.array([branch in builder.branch_overlapping for _, branch in keyed], bool),
    )


def _inexact(info: SignalInfo) -> bool:
    """float64 arithmetic on the raw integer would not give what exact integer arithmetic gives."""
    if info.is_float or (info.bits == 64 and not info.is_signed):
        return True
    if not float(info.factor).is_integer():
        return False
    if not float(info.offset).is_integer() and isinstance(info.factor, float):
        return False
    bound = (1 << info.bits) * abs(int(info.factor)) + abs(int(info.offset))
    return bound > EXACT
