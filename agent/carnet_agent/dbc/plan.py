"""The compiled decode plan: every signal of every database as rows of flat numpy tables.

A *group* is a set of signals that are present together: those of a message without multiplexer, or those that share
one multiplexer and the same selector values. A frame starts in the root group of its message; each multiplexer of a
group leads, by its value, to further groups. A signal belongs to exactly one group, so a block yields at most one run
per signal.

Law: a plan decodes its selected signals and no others; it is immutable and knows neither cantools nor a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carnet_agent.dbc import j1939
from carnet_agent.dbc.database import Kind, Number

Match = Literal["id", "pgn", "isotp"]
MATCHES: tuple[Match, ...] = ("id", "pgn", "isotp")
STANDARD_IDS = 2048
EFF_FLAG = 0x80000000
RTR_FLAG = 0x40000000
Group = np.uint16 | np.int64
"""Group numbers are 16 bits wide where they fit: numpy sorts those by counting."""


@dataclass(frozen=True, slots=True)
class SignalInfo:
    """What a reader of samples must know about a signal."""

    index: int
    """Position in ``Plan.signals``; the same after ``Plan.select``."""
    bus: str
    """The bus its database was given for; empty: any bus."""
    dbc: str
    message: str
    can_id: int
    extended: bool
    name: str
    unit: str
    factor: Number
    offset: Number
    kind: Kind
    bits: int
    minimum: Number | None
    maximum: Number | None
    labels: dict[int, str]
    multiplexer: str
    """The signal that decides whether this one is present; empty: always present."""
    is_multiplexer: bool

    @property
    def is_signed(self) -> bool:
        """The raw value is a signed integer."""
        return self.kind == "int"

    @property
    def is_float(self) -> bool:
        """The raw value is the bit pattern of an IEEE 754 number of ``bits`` bits."""
        return self.kind.startswith("float")


@dataclass(frozen=True, slots=True)
class Rows:
    """Where bits lie in a payload, one row per signal (or multiplexer), as parallel arrays.

    A payload is read as 64-bit words, little endian and byte-swapped. ``raw = (word << left >> right) & mask``, where
    the shift to the right keeps the sign: a signed value is moved to the top and down again, of an unsigned one the
    mask takes what is above. Of a row that crosses a word boundary, the word is first put together:
    ``(word << head_left >> head_right) | (next << next_left >> next_right)``, all of these unsigned.
    """

    group: NDArray[np.int64]
    """The group that the row belongs to."""
    cut: NDArray[np.int64]
    """(4, rows): the group once more, left, right, mask; in one array, as decode needs them together."""
    word: NDArray[np.int64]
    big: NDArray[np.int64]
    """0 little endian, 1 big endian."""
    head_left: NDArray[np.uint64]
    head_right: NDArray[np.uint64]
    next_left: NDArray[np.uint64]
    next_right: NDArray[np.uint64]
    crossing: NDArray[np.bool_]
    need: NDArray[np.int64]
    """Payload bytes without which the row is absent."""

    def __len__(self) -> int:
        return len(self.need)

    def take(self, index: NDArray[np.intp]) -> Rows:
        """The rows at these positions."""
        return Rows(*(getattr(self, field.name).take(index, axis=-1) for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Planes:
    """Which words of a payload the rows lie in: a plane is one word of every frame in one byte order."""

    key: NDArray[np.int64]
    """(planes,) 2 * word + big, ascending: what a classic frame has comes first."""
    row: NDArray[np.int64]
    """(rows,) the plane that the row begins in."""
    next: NDArray[np.int64]
    """(rows,) the plane that a crossing row goes on in."""

    @classmethod
    def of(cls, rows: Rows) -> Planes:
        """The planes of these rows."""
        begins = 2 * rows.word + rows.big
        goes_on = begins + 2 * rows.crossing
        key = np.union1d(begins, goes_on)
        return cls(key, key.searchsorted(begins), key.searchsorted(goes_on))


@dataclass(frozen=True, slots=True)
class Roots:
    """From (bus, identifier) to the root group of a message.

    ``standard`` is a table over bus row * 2048 + identifier; ``extended`` and ``pgn`` are sorted keys
    (bus row << 32 | value).
    The last bus row stands for every bus that is not named.
    """

    bus_base: NDArray[np.int64]
    """Per bus number the start of its row in ``standard``; the last one is for every bus that is not named."""
    standard: NDArray[Group]
    extended: NDArray[np.int64]
    extended_group: NDArray[Group]
    pgn: NDArray[np.int64]
    pgn_group: NDArray[Group]


@dataclass(frozen=True, slots=True)
class Branches:
    """From (group) to its multiplexers, and from (multiplexer, selector value) to further groups.

    ``value`` holds every selector value once, sorted; a branch's ``key`` is
    multiplexer * (number of values) + rank of the value.
    """

    group_first: NDArray[np.int64]
    group_count: NDArray[np.int64]
    value: NDArray[np.int64]
    key: NDArray[np.int64]
    child_first: NDArray[np.int64]
    child_count: NDArray[np.int64]
    child: NDArray[Group]
    overlapping: NDArray[np.bool_]
    """Signals present in this branch overlap or overhang: cantools refuses such a frame, we read it."""


class Transported(NamedTuple):
    """An identifier whose messages come over ISO-TP."""

    bus: int
    """Bus row; the last one stands for every bus that is not named."""
    can_id: int
    extended: bool
    with_length: bool
    """The database describes a single frame, so a longer message is given the same leading length byte."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything ``decode`` needs; made by ``compile.compile_plan`` or loaded from the cache."""

    match: Match
    buses: tuple[str, ...]
    """Named buses: ``Frames.bus`` i is ``buses[i]``; larger numbers are any other bus."""
    signals: tuple[SignalInfo, ...]
    row_signal: NDArray[np.int32]
    """Selected rows; those that cross a word are the last, and rows of scaled signals lie together."""
    rows: Rows
    planes: Planes
    muxer_rows: Rows
    roots: Roots
    branches: Branches
    group_parent: NDArray[np.int64]
    """The group that holds the multiplexer leading here, -1 for a root."""
    overlapping_roots: NDArray[np.int64]
    """Root groups whose always present signals overlap or overhang (see ``Branches.overlapping``)."""
    factor: NDArray[np.float64]
    offset: NDArray[np.float64]
    scaled: NDArray[np.bool_]
    """Signals whose physical value is not the raw number itself."""
    inexact: NDArray[np.bool_]
    """Signals whose physical value float64 arithmetic on the raw integer would not give exactly."""
    has_inexact: bool
    """A selected signal is inexact."""
    crossing_from: int
    """The first row that crosses a word."""
    group_need: NDArray[np.int64]
    """Bytes that hold all selected signals of a group; group number ``groups`` means no message."""
    longest: NDArray[np.uint8]
    """() bytes of the longest group; an array, which numpy compares with in half of the time."""
    has_multiplexers: bool
    """A selected signal depends on a multiplexer."""
    transported: tuple[Transported, ...]
    """Identifiers to reassemble before decoding; empty unless matched by ISO-TP."""

    @property
    def groups(self) -> int:
        """Number of groups; also the number that stands for no group."""
        return len(self.group_parent)

    @property
    def selected(self) -> NDArray[np.int32]:
        """Indices of the signals that this plan decodes, ascending."""
        return np.sort(self.row_signal)

    @property
    def need(self) -> int:
        """Bytes of the longest group."""
        return int(self.longest)

    @property
    def width(self) -> int:
        """Payload bytes that the plan can make use of, a multiple of 8."""
        return max(8, -(-self.need // 8) * 8)

    def select(self, signal_indices: Iterable[int]) -> Plan:
        """The plan that decodes only these signals; frames without any of them match nothing.

        ``signals`` and their indices stay as they are, so that numbers kept elsewhere remain valid.
        """
        wanted = np.fromiter(sorted(set(signal_indices)), np.int32)
        keep = np.flatnonzero(np.isin(self.row_signal, wanted))
        rows, row_signal = self.rows.take(keep), self.row_signal[keep]
        alive = self._alive_groups(rows.group)
        dead = np.append(~alive, True)
        group_count = np.where(self._leads_on(alive), self.branches.group_count, 0)
        number = self.roots.standard.dtype.type(self.groups)
        roots = replace(
            self.roots,
            standard=np.where(dead[self.roots.standard], number, self.roots.standard),
            extended_group=np.where(dead[self.roots.extended_group], number, self.roots.extended_group),
            pgn_group=np.where(dead[self.roots.pgn_group], number, self.roots.pgn_group),
        )
        group_need = needs(rows, self.groups)
        return replace(
            self,
            row_signal=row_signal,
            rows=rows,
            planes=Planes.of(rows),
            roots=roots,
            branches=replace(self.branches, group_count=group_count),
            has_multiplexers=bool(group_count.any()),
            has_inexact=bool(self.inexact[row_signal].any()),
            crossing_from=int(np.searchsorted(keep, self.crossing_from)),
            group_need=group_need,
            longest=np.array(group_need.max(), np.uint8),
        )

    def _alive_groups(self, row_group: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Groups with a selected signal, and those on the way to one."""
        alive = np.zeros(self.groups, bool)
        alive[row_group] = True
        # A parent is always numbered before its children.
        for group in range(self.groups - 1, -1, -1):
            if alive[group] and self.group_parent[group] >= 0:
                alive[self.group_parent[group]] = True
        return alive

    def _leads_on(self, alive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Groups with a multiplexer behind which something is alive."""
        leads = np.zeros(self.groups + 1, bool)
        parents = self.group_parent[alive]
        leads[parents[parents >= 0]] = True
        return leads

    def identifiers(self, bus: str) -> list[tuple[int, bool]]:
        """(identifier, extended) of every message on this bus that holds a selected signal."""
        row = self.buses.index(bus) if bus in self.buses else len(self.buses)
        table = self.roots.standard[row * STANDARD_IDS : (row + 1) * STANDARD_IDS]
        found = [(int(can_id), False) for can_id in np.flatnonzero(table != self.groups)]
        live = (self.roots.extended_group != self.groups) & (self.roots.extended >> 32 == row)
        return found + [(int(key) & 0xFFFFFFFF, True) for key in self.roots.extended[live]]

    def filters(self, bus: str) -> list[tuple[int, int]]:
        """The same as SocketCAN filters (identifier with flag, mask); a parameter group matches from any source."""
        filters = []
        for can_id, extended in self.identifiers(bus):
            if not extended:
                filters.append((can_id, EFF_FLAG | RTR_FLAG | 0x7FF))
                continue
            mask = j1939.pgn_mask(can_id) if self.match == "pgn" else 0x1FFFFFFF
            filters.append((EFF_FLAG | can_id & mask, EFF_FLAG | RTR_FLAG | mask))
        return sorted(set(filters))


def needs(rows: Rows, groups: int) -> NDArray[np.int64]:
    """Per group the bytes that all its rows need; one more entry, 0, for no group."""
    need = np.zeros(groups + 1, np.int64)
    np.maximum.at(need, rows.group, rows.need)
    return need
