"""Conditions: whether what somebody's ``when`` names held at the frame of a sample.

Law: what is unknown or older than STALE_MS does not hold.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import InitVar, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from carnet.offers import Condition
from carnet_agent.collect.chunk import Chunk
from carnet_agent.collect.exact import INT64_MAX, Affine, fraction, scaled_floats
from carnet_agent.dbc.plan import SignalInfo
from carnet_agent.decoded import Decoded

STALE_MS: Final = 10_000
_NEVER: Final = -(2**62)

Mask = NDArray[np.bool_]
Whens = tuple[tuple[Condition, ...], ...]
"""Alternatives; of each one all conditions must hold."""

_COMPARE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}


class Known:
    """The last reading of every wanted signal, so that a condition that is new need not wait for one."""

    def __init__(self, signals: int) -> None:
        self.time_ms = np.full(signals, _NEVER, np.int64)
        self.raw = np.zeros(signals, np.int64)

    def learn(self, decoded: Decoded, time_ms: NDArray[np.int64]) -> None:
        """Readings of a block; ``time_ms`` of its frames."""
        read_ms = time_ms.take(decoded.frame.take(decoded.run_frame + decoded.run_length - 1))
        newer = read_ms >= self.time_ms.take(decoded.run_signal)
        signal = decoded.run_signal[newer]
        self.time_ms[signal] = read_ms[newer]
        last = decoded.run_start + decoded.run_length - 1
        self.raw[signal] = decoded.raw.take(last[newer])

    def forget_others(self, signals: Iterable[int]) -> None:
        """Keep only what is known of these."""
        kept = np.zeros(len(self.raw), bool)
        kept[list(signals)] = True
        self.time_ms[~kept] = _NEVER


@dataclass(slots=True)
class Watch:
    """One condition on one signal, and what is known of it since the chunks before."""

    info: SignalInfo
    condition: Condition
    known: InitVar[Known]
    _affine: Affine | None = None
    _bound: int = 0
    _known_ms: int = _NEVER
    _held: bool = False

    def __post_init__(self, known: Known) -> None:
        self._measure()
        self._known_ms = int(known.time_ms[self.info.index])
        self._held = bool(self._truth(known.raw[self.info.index : self.info.index + 1])[0])

    def _measure(self) -> None:
        if self.info.is_float:
            return
        # raw * F + O against c becomes raw * f + o against an integer
        factor, offset, value = (fraction(n) for n in (self.info.factor, self.info.offset, self.condition.value))
        scale = factor.denominator * offset.denominator * value.denominator
        self._affine = Affine.of(self.info, factor * scale, offset * scale)
        self._bound = int(value * scale)

    def holds(self, chunk: Chunk) -> Mask:
        """For every frame of the chunk; call once per chunk."""
        run = chunk.runs.get(self.info.index)
        if run is None or not len(run):
            held: Mask = (chunk.time_ms - self._known_ms <= STALE_MS) & self._held
            return held
        truth = np.concatenate(([self._held], self._truth(run.raw)))
        known_ms = np.concatenate(([self._known_ms], run.time_ms))
        newest = run.frame.searchsorted(np.arange(len(chunk.time_ms)), side="right")
        self._held, self._known_ms = bool(truth[-1]), int(known_ms[-1])
        fresh: Mask = chunk.time_ms - known_ms.take(newest) <= STALE_MS
        return fresh & truth.take(newest)

    def _truth(self, raw: NDArray[np.int64]) -> Mask:
        compare = _COMPARE[self.condition.op]
        if self._affine is None:
            return np.asarray(compare(scaled_floats(self.info, raw), float(self.condition.value)), bool)
        value, good = self._affine.apply(raw)
        if good is None and abs(self._bound) <= INT64_MAX:
            return np.asarray(compare(value, self._bound), bool)
        exact = (raw.view(np.uint64) if self._affine.unsigned else raw).astype(
            object
        ) * self._affine.times + self._affine.plus
        return np.asarray(compare(exact, self._bound * self._affine.over), bool)


class Watches:
    """All conditions that columns depend on."""

    def __init__(self) -> None:
        self._watches: dict[Condition, Watch] = {}
        self._now: dict[Condition, Mask] = {}
        self._held: dict[Whens, Mask] = {}

    def watch(self, wanted: Iterable[tuple[Condition, SignalInfo]], known: Known) -> None:
        """Look at these from now on; new ones begin with what is known of their signals."""
        before = self._watches
        self._watches = {
            condition: before.get(condition) or Watch(info, condition, known) for condition, info in wanted
        }

    def look(self, chunk: Chunk) -> None:
        """Judge every condition at every frame of this chunk."""
        self._now = {condition: watch.holds(chunk) for condition, watch in self._watches.items()}
        self._held = {}

    def hold(self, whens: Whens) -> Mask:
        """For every frame of the chunk that was looked at whether one alternative holds."""
        if whens not in self._held:
            alternatives = [np.logical_and.reduce([self._now[one] for one in when]) for when in whens]
            self._held[whens] = np.logical_or.reduce(alternatives)
        return self._held[whens]
