"""What collect must give, sample by sample in plain Python: cantools decodes, fractions compute; nothing of ours.

Written from ``docs/transforms.md``. Grants are plain dictionaries: record -> list of items, an item as in an offer
(``path`` or ``category``, ``transform``, ``class``, ``when``; ``condition`` True for what is only looked at).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

LATITUDE, LONGITUDE = "Vehicle.CurrentLocation.Latitude", "Vehicle.CurrentLocation.Longitude"
STALE_MS = 10_000
Key = tuple[str, str, str, str, str]
"""Record, class, path, transform, field."""
Frame = tuple[int, int, bool, bytes]
"""Time in ns, identifier, extended, data."""


@dataclass
class Signal:
    """One signal of the car: what the DBC and the mapping say of it."""

    message: str
    name: str
    path: str
    category: str
    factor: Fraction
    offset: Fraction
    minimum: Fraction | None
    maximum: Fraction | None
    is_float: bool
    bits: int
    is_signed: bool
    not_available: int | None
    checksum: str | None
    counter: str | None
    last_ms: int = -1
    known: tuple[int, Fraction] | None = None


def crc8(can_id: int, data: bytes) -> int:
    crc = 0xFF
    for byte in can_id.to_bytes(4, "big") + data[:-1]:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x1D if crc & 0x80 else crc << 1) & 0xFF
    return crc ^ 0xFF


def toyota(can_id: int, data: bytes) -> int:
    return ((can_id >> 8) + can_id + len(data) + sum(data[:-1])) & 0xFF


def pgn(can_id: int) -> int:
    return can_id >> 8 & (0x3FFFF if can_id >> 16 & 0xFF >= 240 else 0x3FF00)


def said(signal: Signal, raw: int) -> str | None:
    """What J1939 says by a raw value, if it is no reading."""
    if signal.is_signed or signal.is_float or signal.bits < 2:
        return None
    top = raw >> signal.bits - 8 if signal.bits >= 8 else raw
    absent = 0xFF if signal.bits >= 8 else 2**signal.bits - 1
    return "not_available" if top == absent else "error" if top == absent - 1 else None


SUMS = {"crc8": crc8, "toyota": toyota}


def snap_latitude(units: int, metres: int) -> int:
    row = units * 110_574 // (metres * 10**7)
    middle = (2 * row + 1) * metres * 10**7 // (2 * 110_574)
    return max(-900_000_000, min(900_000_000, middle))


def snap_longitude(units: int, snapped_latitude: int, metres: int) -> int:
    degree = math.ceil(Fraction(abs(snapped_latitude), 10**7))
    cosine = 0 if degree == 90 else 500_000 if degree == 60 else math.floor(10**6 * math.cos(math.radians(degree)))
    columns = max(1, 360 * 110_574 * cosine // (metres * 10**6))
    column = (units + 1_800_000_000) % 3_600_000_000 * columns // 3_600_000_000
    return (2 * column + 1) * 1_800_000_000 // columns - 1_800_000_000


def half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def digits(value: Fraction) -> int:
    return next(n for n in range(400) if (value * 10**n).denominator == 1)


COMPARE = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">=": lambda a, b: a >= b,
    ">": lambda a, b: a > b,
}


@dataclass
class Column:
    """One column of one set of records: state, and what it emitted as (time, field, exact value)."""

    signal: Signal
    transform: dict[str, Any]
    whens: list[list[dict[str, str]]]
    since_ms: int
    out: list[tuple[int, str, Fraction]] = field(default_factory=list)
    free: float = -math.inf
    last: Fraction | None = None
    pending: tuple[int, Fraction] | None = None
    window: int | None = None
    inside: list[Fraction] = field(default_factory=list)

    def step(self) -> Fraction | None:
        if "round" in self.transform:
            return Fraction(self.transform["round"])
        if "cell_m" in self.transform:
            return Fraction(1, 10**7)
        if "aggregate" not in self.transform:
            return None
        if self.signal.is_float:
            return Fraction(1, 10**6)
        return Fraction(1, 10 ** min(9, max(digits(self.signal.factor), digits(self.signal.offset))))

    def value(self, physical: Fraction, latitude: Fraction | None) -> Fraction | None:
        step = self.step()
        if step is None:
            return physical
        as_float = math.floor(float(physical) / float(step) + 0.5)
        multiple = as_float if self.signal.is_float else half_up(physical / step)
        if "cell_m" in self.transform:
            metres = self.transform["cell_m"]
            if self.signal.path == LATITUDE:
                multiple = snap_latitude(multiple, metres)
            else:
                if latitude is None:
                    return None
                multiple = snap_longitude(multiple, snap_latitude(half_up(latitude * 10**7), metres), metres)
        return multiple * step

    def is_change(self, value: Fraction) -> bool:
        if self.last is None:
            return True
        if "dead_band" not in self.transform:
            return value != self.last
        return value != self.last and abs(value - self.last) >= Fraction(self.transform["dead_band"])

    def emit(self, time: int, value: Fraction) -> None:
        self.last = value
        self.out.append((time, "", value))

    def sample(self, time: int, value: Fraction) -> None:
        interval = self.transform.get("interval_ms", 0)
        if "aggregate" in self.transform:
            self.advance(time)
            self.window = time // self.transform["aggregate"]["window_ms"]
            self.inside.append(value)
        elif "on_change" in self.transform or "dead_band" in self.transform:
            self.advance(time)
            if time < self.free and interval:
                if not self.is_change(value):
                    self.pending = None
                elif self.pending is None or self.pending[1] != value:
                    self.pending = time, value
            elif self.is_change(value):
                self.emit(time, value)
                self.free = time + interval
        elif time >= self.free:
            self.emit(time, value)
            self.free = time + interval

    def advance(self, now: int) -> None:
        if self.pending is not None and self.free <= now:
            self.release()
        if self.window is not None and (self.window + 1) * self.transform["aggregate"]["window_ms"] <= now:
            self.row(now)

    def release(self) -> None:
        if self.pending is not None:
            self.emit(*self.pending)
            self.pending = None
            self.free += self.transform["interval_ms"]

    def row(self, now: int) -> None:
        if self.window is None:
            return
        width = self.transform["aggregate"]["window_ms"]
        time = min((self.window + 1) * width, max(now, self.window * width + 1))
        step = self.step()
        assert step is not None
        mean_step = step if "round" in self.transform else step / 1000
        values = self.inside
        mean = sum(values, Fraction(0)) / len(values)
        found = {
            "min": min(values),
            "max": max(values),
            "mean": half_up(mean / mean_step) * mean_step,
            "count": Fraction(len(values)),
            "first": values[0],
            "last": values[-1],
            "sum": Fraction(sum(values)),
        }
        self.out += [(time, name, found[name]) for name in self.transform["aggregate"]["fields"]]
        self.window, self.inside = None, []

    def close(self, now: int, ending: bool) -> None:
        self.advance(now)
        if ending:
            self.release()
            self.row(now)


class Oracle:
    """Frames in, columns per record out."""

    def __init__(self, database: Any, signals: Iterable[Signal], by_pgn: bool = False) -> None:
        self.by_pgn = by_pgn
        self.signals = list(signals)
        self.by_path: dict[str, Signal] = {}
        for signal in self.signals:
            self.by_path.setdefault(signal.path, signal)
        self.by_message: dict[str, list[Signal]] = defaultdict(list)
        for signal in self.signals:
            self.by_message[signal.message].append(signal)
        self.messages = {(m.frame_id, m.is_extended_frame): m for m in database.messages}
        self.groups = {pgn(m.frame_id): m for m in database.messages if m.is_extended_frame}
        self.sources: dict[str, int] = {}
        self.counters: dict[tuple[str, str], int] = {}
        self.columns: dict[tuple[Any, ...], Column] = {}
        self.needed: set[str] = set()
        self.dropped: Counter[str] = Counter()
        self.result: dict[Key, list[tuple[int, Fraction]]] = defaultdict(list)

    def set_grants(
        self, grants: dict[str, list[dict[str, Any]]], boot_ms: int, alone: Collection[str] = frozenset()
    ) -> None:
        """``alone``: records that share no column with another one."""
        asked: dict[tuple[str, str, str, str], list[list[dict[str, str]]]] = defaultdict(list)
        needed = set()
        for record, items in grants.items():
            for item in items:
                for signal in self.by_path.values():
                    named = not signal.path.startswith("Vehicle.Private.")
                    if item.get("path") == signal.path or (named and item.get("category") == signal.category):
                        needed.add(signal.path)
                        if not item.get("condition"):
                            asked[record, signal.path, repr(item["transform"]), item["class"]].append(item["when"])
        transforms = {repr(item["transform"]): item["transform"] for items in grants.values() for item in items}
        sets: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
        alternatives = {}
        for (record, path, transform, delivery_class), whens in asked.items():
            open_to_all = any(not when for when in whens)
            text = "" if open_to_all else repr(sorted(map(repr, whens)))
            text += record if record in alone else ""
            sets[path, transform, delivery_class, text].append(record)
            alternatives[path, transform, delivery_class, text] = [] if open_to_all else whens
        columns = {}
        for (path, transform, delivery_class, text), records in sets.items():
            key = path, transform, delivery_class, text, tuple(sorted(records))
            columns[key] = self.columns.get(key) or Column(
                self.by_path[path], transforms[transform], alternatives[path, transform, delivery_class, text], boot_ms
            )
        for key, column in self.columns.items():
            column.close(boot_ms, ending=key not in columns)
        self._take(set(self.columns))
        for path in self.needed - needed:
            self.by_path[path].known = None
        self.columns, self.needed = columns, needed

    def cut(self, boot_ms: int, classes: set[str], ending: bool = False) -> None:
        chosen = {key for key in self.columns if key[2] in classes}
        for key in chosen:
            self.columns[key].close(boot_ms, ending)
        self._take(chosen)

    def _take(self, keys: set[tuple[Any, ...]]) -> None:
        for key in keys:
            column = self.columns[key]
            for record in key[4]:
                for time, name, value in column.out:
                    self.result[record, key[2], key[0], repr(column.transform), name].append((time, value))
            column.out = []

    def feed(self, frame: Frame) -> None:
        time_ns, can_id, extended, data = frame
        message = self.messages.get((can_id, extended))
        if self.by_pgn and extended and message is None:
            message = self.groups.get(pgn(can_id))
        if message is None or not any(signal.path in self.needed for signal in self.by_message[message.name]):
            return
        time = time_ns // 1_000_000
        raw = message.decode(data, decode_choices=False, scaling=False, allow_truncated=True)
        good = self._good(message.name, time, (can_id, extended), data, raw)
        for signal, physical in good:
            signal.known = time, physical
        latitude = next((physical for signal, physical in good if signal.path == LATITUDE), None)
        for signal, physical in good:
            for column in self.columns.values():
                if column.signal is signal and time >= column.since_ms and self._holds(column.whens, time):
                    value = column.value(physical, latitude)
                    if value is None:
                        self.dropped["cell_alone"] += 1
                    else:
                        column.sample(time, value)

    def _good(
        self, message: str, time: int, sender: tuple[int, bool], data: bytes, raw: dict[str, Any]
    ) -> list[tuple[Signal, Fraction]]:
        """The readings of a frame: needed signals that pass every check."""
        stuck = {}
        needed = [signal for signal in self.by_message[message] if signal.path in self.needed and signal.name in raw]
        for counter in {signal.counter for signal in needed} - {None}:
            if counter in raw:
                stuck[counter] = self.counters.get((message, counter)) == raw[counter]
                self.counters[message, counter] = raw[counter]
        good = []
        for signal in needed:
            physical = Fraction(raw[signal.name]) * signal.factor + signal.offset
            if time < signal.last_ms:
                reason: str | None = "time_back"
            elif signal.checksum and SUMS[signal.checksum](sender[0], data) != data[-1]:
                reason = "checksum"
            elif signal.counter and stuck.get(signal.counter):
                reason = "counter"
            else:
                reason = self._no_reading(signal, raw[signal.name], physical, sender)
            signal.last_ms = max(signal.last_ms, time)
            if reason is None:
                good.append((signal, physical))
            else:
                self.dropped[reason] += 1
        return good

    def _no_reading(self, signal: Signal, raw: int, physical: Fraction, sender: tuple[int, bool]) -> str | None:
        if raw == signal.not_available:
            return "not_available"
        if self.by_pgn and sender[1] and said(signal, raw):
            return said(signal, raw)
        low, high = signal.minimum, signal.maximum
        if low is not None and high is not None and low < high and not low <= physical <= high:
            return "range"
        source = sender[0] & 0xFF if sender[1] else -1
        if self.by_pgn and self.sources.setdefault(signal.path, source) != source:
            return "other_source"
        return None

    def _holds(self, whens: list[list[dict[str, str]]], time: int) -> bool:
        return not whens or any(all(self._condition(one, time) for one in when) for when in whens)

    def _condition(self, condition: dict[str, str], time: int) -> bool:
        signal = self.by_path[condition["path"]]
        if signal.known is None or time - signal.known[0] > STALE_MS:
            return False
        return bool(COMPARE[condition["op"]](signal.known[1], Fraction(condition["value"])))


def signals_of(database: Any, mapping: dict[str, Any], prefix: str) -> list[Signal]:
    """Every signal of a cantools database under a parsed mapping file; ``prefix`` begins private paths."""
    rows = {(row["message"], row["signal"]): row for row in mapping["signal"]}
    found = []
    for message in database.messages:
        for signal in message.signals:
            row = rows.get((message.name, signal.name), {})
            limits = [None if one is None else Fraction(repr(one)) for one in (signal.minimum, signal.maximum)]
            found.append(
                Signal(
                    message=message.name,
                    name=signal.name,
                    path=row.get("path", f"{prefix}.{message.name}.{signal.name}"),
                    category=row.get("category", "unmapped"),
                    factor=Fraction(repr(signal.scale)),
                    offset=Fraction(repr(signal.offset)),
                    minimum=limits[0],
                    maximum=limits[1],
                    is_float=signal.is_float,
                    bits=signal.length,
                    is_signed=signal.is_signed,
                    not_available=row.get("not_available"),
                    checksum=mapping["dbc"].get("checksum") if "checksum" in row else None,
                    counter=row.get("counter"),
                )
            )
    return found
