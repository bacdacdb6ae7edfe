"""Quality: which samples are readings at all. Whatever is not is dropped and counted by one reason.

Law: the whole block is looked at with a few array operations; only runs with something wrong are looked at one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from carnet.checksums import ALGORITHMS
from carnet_agent.collect.exact import fraction, raw_bounds, scaled_floats
from carnet_agent.dbc.mapping import MappedSignal
from carnet_agent.dbc.plan import Plan, SignalInfo
from carnet_agent.decoded import Decoded
from carnet_agent.frames import Frames

Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1
NONE = -1
NO_SOURCE = -2


@dataclass(frozen=True, slots=True)
class Rules:
    """Per plan signal what makes its samples none."""

    infos: tuple[SignalInfo, ...]
    low: Int64
    high: Int64
    """Raw values outside are out of range; only of signals that ``odd`` does not name."""
    odd: Mask
    """Floats and unsigned 64-bit signals: their raw values do not compare as int64."""
    not_available: tuple[int | None, ...]
    error_from: Int64
    """J1939: unsigned raw values from here on say error, the topmost not available."""
    checksum: tuple[str | None, ...]
    counter: NDArray[np.int32]
    """Index of the signal that counts the frames, NONE without."""

    @classmethod
    def of(cls, plan: Plan, mapped: Sequence[MappedSignal], algorithms: Mapping[str, str]) -> Rules:
        """``mapped`` per plan signal; ``algorithms``: a DBC's name -> its checksum in `carnet.checksums.ALGORITHMS`."""
        infos = plan.signals
        bounds = [_raw_range(info) for info in infos]
        places = {(info.bus, info.dbc, info.message, info.name): info.index for info in infos}
        pairs = list(zip(infos, mapped, strict=True))
        return cls(
            infos=infos,
            low=np.array([low for low, _ in bounds], np.int64),
            high=np.array([high for _, high in bounds], np.int64),
            odd=np.array([info.is_float or (info.kind == "uint" and info.bits == 64) for info in infos], bool),
            not_available=tuple(one.not_available for one in mapped),
            error_from=np.array([_error_from(info) if plan.match == "pgn" else _HIGHEST for info in infos], np.int64),
            checksum=tuple(algorithms.get(info.dbc) if one.checksum else None for info, one in pairs),
            counter=np.array(
                [places.get((i.bus, i.dbc, i.message, one.counter or ""), NONE) for i, one in pairs], np.int32
            ),
        )

    def guards(self, signals: Iterable[int]) -> set[int]:
        """Counters that must be read to judge these signals."""
        return {int(self.counter[signal]) for signal in signals} - {NONE}


@dataclass(slots=True)
class Quality:
    """Judges block after block; remembers the last time of each signal and the last value of each counter."""

    rules: Rules
    dropped: Counter[str] = field(default_factory=Counter)
    _last_ms: Int64 = field(init=False)
    _last_count: dict[int, int] = field(default_factory=dict)
    _source: dict[int, int] = field(default_factory=dict)
    """J1939: per signal the address of the first sender that gave a reading."""

    def __post_init__(self) -> None:
        self._last_ms = np.full(len(self.rules.infos), _LOWEST, np.int64)

    def judge(self, frames: Frames, decoded: Decoded, counted: Collection[int]) -> Decoded:
        """The samples that are readings; only drops of ``counted`` count."""
        if not len(decoded):
            return decoded
        look = _Look(self.rules, frames, decoded, self._last_ms, self._last_count, self._source)
        suspects = look.suspects()
        keep = np.ones(len(decoded), bool)
        for run in suspects:
            drops = self._judge_run(look, run, keep)
            if look.signals[run] in counted:
                self.dropped.update(drops)
        self._remember(look)
        return decoded if keep.all() else decoded.only(keep)

    def _judge_run(self, look: _Look, run: int, keep: Mask) -> Counter[str]:
        drops: Counter[str] = Counter()
        good = np.ones(int(look.decoded.run_length[run]), bool)
        for reason, find in CHECKS:
            bad = find(look, run)
            if bad is not None:
                bad = bad & good
                drops[reason] += int(bad.sum())
                good &= ~bad
        sources = look.sources(run)
        if sources is not None and good.any():
            # mixed senders would make every change, dead-band and mean wrong
            source = self._source.setdefault(look.signals[run], int(sources[good.argmax()]))
            bad = good & (sources != source)
            drops["other_source"] += int(bad.sum())
            good &= ~bad
        keep[look.stretch(run)] = good
        return drops

    def _remember(self, look: _Look) -> None:
        decoded = look.decoded
        signal = decoded.run_signal
        self._last_ms[signal] = np.maximum(self._last_ms[signal], look.latest_ms)
        for counter, run in look.counter_runs.items():
            self._last_count[counter] = int(decoded.raw[look.stretch(run)][-1])


class _Look:
    """One block under judgement, with what several checks need."""

    def __init__(
        self,
        rules: Rules,
        frames: Frames,
        decoded: Decoded,
        last_ms: Int64,
        last_count: dict[int, int],
        source: dict[int, int],
    ) -> None:
        self.source = source
        self.rules, self.frames, self.decoded, self.last_ms = rules, frames, decoded, last_ms
        self.signals: list[int] = decoded.run_signal.tolist()
        self.time_ms = frames.time_ns // 1_000_000
        self.latest_ms, self.falls = self._times()
        run_of = {signal: run for run, signal in enumerate(self.signals)}
        counters = {int(counter) for counter in rules.counter.take(decoded.run_signal)} - {NONE}
        self.counter_runs = {counter: run_of[counter] for counter in sorted(counters) if counter in run_of}
        self.stuck = {
            counter: self._stuck_frames(run, last_count.get(counter)) for counter, run in self.counter_runs.items()
        }
        self._false_sums: dict[str, Mask] = {}

    def stretch(self, run: int) -> slice:
        """The samples of a run."""
        start = int(self.decoded.run_start[run])
        return slice(start, start + int(self.decoded.run_length[run]))

    def frame(self, run: int) -> NDArray[np.intp]:
        """The frames of a run."""
        first = int(self.decoded.run_frame[run])
        return self.decoded.frame[first : first + int(self.decoded.run_length[run])]

    def _times(self) -> tuple[Int64, Mask]:
        """(R,) the latest time of each run, and whether a time in it is earlier than the one before."""
        decoded, time_ms = self.decoded, self.time_ms
        if (time_ms[1:] >= time_ms[:-1]).all():
            last = decoded.frame.take(decoded.run_frame + decoded.run_length - 1)
            return time_ms.take(last), np.zeros(len(last), bool)
        of_samples = time_ms.take(decoded.sample_frame)
        falls = np.append(False, of_samples[1:] < of_samples[:-1])
        falls[decoded.run_start] = False
        return np.maximum.reduceat(of_samples, decoded.run_start), np.logical_or.reduceat(falls, decoded.run_start)

    def sources(self, run: int) -> NDArray[np.int16] | None:
        """Who sent the samples of a run, by J1939; None unless matched by parameter group."""
        return None if self.decoded.source is None else self.decoded.source.take(self.frame(run))

    def suspects(self) -> NDArray[np.intp]:
        """Runs in which something may be wrong."""
        decoded, rules = self.decoded, self.rules
        signal, start = decoded.run_signal, decoded.run_start
        low = np.minimum.reduceat(decoded.raw, start)
        high = np.maximum.reduceat(decoded.raw, start)
        odd = rules.odd.take(signal)
        suspect = ~odd & ((low < rules.low.take(signal)) | (high > rules.high.take(signal)))
        suspect |= (high >= rules.error_from.take(signal)) & (rules.error_from.take(signal) != _HIGHEST)
        suspect |= self.falls
        suspect |= self.time_ms.take(decoded.frame.take(decoded.run_frame)) < self.last_ms.take(signal)
        if decoded.source is not None:
            expected = np.array([self.source.get(one, NO_SOURCE) for one in self.signals])
            source = decoded.source.take(decoded.sample_frame)
            suspect |= np.minimum.reduceat(source, start) != expected
            suspect |= np.maximum.reduceat(source, start) != expected
        for run, one in enumerate(self.signals):
            if suspect[run]:
                continue
            missing = rules.not_available[one]
            suspect[run] = (
                (odd[run] and (_has_range(rules.infos[one]) or missing is not None))
                or (missing is not None and low[run] <= missing <= high[run])
                or (rules.counter[one] in self.stuck and bool(self.stuck[int(rules.counter[one])].any()))
                or (rules.checksum[one] is not None and bool(self.false_sums(one).any()))
            )
        return suspect.nonzero()[0]

    def false_sums(self, signal: int) -> Mask:
        """Per frame whether its checksum is false; looked at only where a signal with this algorithm was decoded."""
        algorithm = self.rules.checksum[signal] or ""
        if algorithm not in self._false_sums:
            rules, frames = self.rules, self.frames
            guarded = np.array([rules.checksum[one] == algorithm for one in self.signals])
            seen = np.zeros(len(frames), bool)
            for run in guarded.nonzero()[0].tolist():
                seen[self.frame(run)] = True
            at = seen.nonzero()[0]
            length, payload = frames.length.take(at), frames.payload.take(at, axis=0)
            last = payload[np.arange(len(at)), np.maximum(length.astype(np.intp), 1) - 1]
            false = np.zeros(len(frames), bool)
            false[at] = last != ALGORITHMS[algorithm](frames.can_id.take(at), payload, length)
            self._false_sums[algorithm] = false
        return self._false_sums[algorithm]

    def _stuck_frames(self, run: int, last: int | None) -> Mask:
        count, frame = self.decoded.raw[self.stretch(run)], self.frame(run)
        stuck = np.zeros(len(self.frames), bool)
        stuck[frame[1:]] = count[1:] == count[:-1]
        stuck[frame[0]] = last is not None and int(count[0]) == last
        return stuck


def _time_back(look: _Look, run: int) -> Mask | None:
    time_ms = look.time_ms.take(look.frame(run))
    latest = np.maximum.accumulate(np.concatenate(([look.last_ms[look.signals[run]]], time_ms)))
    return np.asarray(time_ms < latest[:-1])


def _checksum(look: _Look, run: int) -> Mask | None:
    signal = look.signals[run]
    if look.rules.checksum[signal] is None:
        return None
    return look.false_sums(signal)[look.frame(run)]


def _counter(look: _Look, run: int) -> Mask | None:
    stuck = look.stuck.get(int(look.rules.counter[look.signals[run]]))
    return None if stuck is None else stuck[look.frame(run)]


def _not_available(look: _Look, run: int) -> Mask | None:
    raw, signal = look.decoded.raw[look.stretch(run)], look.signals[run]
    bad = np.zeros(len(raw), bool)
    missing = look.rules.not_available[signal]
    if missing is not None:
        # beyond int64 it is the bit pattern of an unsigned value
        bad |= raw == (missing - 2**64 if missing > _HIGHEST else missing)
    return bad | _j1939(look, run, said="not_available")


def _error(look: _Look, run: int) -> Mask | None:
    return _j1939(look, run, said="error")


def _j1939(look: _Look, run: int, said: str) -> Mask:
    signal, source = look.signals[run], look.sources(run)
    raw = look.decoded.raw[look.stretch(run)]
    from_raw = int(look.rules.error_from[signal])
    if from_raw == _HIGHEST or source is None:
        return np.zeros(len(raw), bool)
    bits = look.rules.infos[signal].bits
    absent_from = (0xFF << bits - 8) if bits >= 8 else (1 << bits) - 1
    of_j1939 = source >= 0
    if said == "not_available":
        return np.asarray(of_j1939 & (raw >= absent_from))
    return np.asarray(of_j1939 & (raw >= from_raw) & (raw < absent_from))


def _range(look: _Look, run: int) -> Mask | None:
    raw, signal = look.decoded.raw[look.stretch(run)], look.signals[run]
    info = look.rules.infos[signal]
    if not _has_range(info):
        return None
    if info.is_float:
        assert info.minimum is not None
        assert info.maximum is not None
        with np.errstate(all="ignore"):
            value = scaled_floats(info, raw)
            return ~np.asarray((value >= float(info.minimum)) & (value <= float(info.maximum)))
    if look.rules.odd[signal]:
        low, high = _exact_range(info)
        wide = raw.view(np.uint64)
        return np.asarray((wide < np.uint64(low)) | (wide > np.uint64(high)))
    return np.asarray((raw < look.rules.low[signal]) | (raw > look.rules.high[signal]))


CHECKS: tuple[tuple[str, Callable[[_Look, int], Mask | None]], ...] = (
    ("time_back", _time_back),
    ("checksum", _checksum),
    ("counter", _counter),
    ("not_available", _not_available),
    ("error", _error),
    ("range", _range),
)
"""Reason -> the samples of a run that it applies to; the first one counts."""


def _has_range(info: SignalInfo) -> bool:
    return info.minimum is not None and info.maximum is not None and info.minimum < info.maximum and info.factor != 0


def _exact_range(info: SignalInfo) -> tuple[int, int]:
    """The smallest and largest raw integer within the DBC's range and the signal's bits."""
    low, high = raw_bounds(info)
    if not _has_range(info) or info.is_float:
        return low, high
    assert info.minimum is not None
    assert info.maximum is not None
    factor, offset = fraction(info.factor), fraction(info.offset)
    ends = sorted((fraction(end) - offset) / factor for end in (info.minimum, info.maximum))
    return max(low, -(-ends[0] // 1)), min(high, ends[1] // 1)


def _raw_range(info: SignalInfo) -> tuple[int, int]:
    """`_exact_range` where raw values compare as int64, everything elsewhere."""
    if info.is_float or (info.kind == "uint" and info.bits == 64):
        return _LOWEST, _HIGHEST
    return _exact_range(info)


def _error_from(info: SignalInfo) -> int:
    """The smallest raw value by which J1939 says that there is no reading."""
    if info.kind != "uint" or not 2 <= info.bits <= 63:
        return _HIGHEST
    return 0xFE << info.bits - 8 if info.bits >= 8 else (1 << info.bits) - 2
