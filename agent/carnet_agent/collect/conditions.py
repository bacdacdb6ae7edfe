"""Conditions: whether what somebody's ``when`` names held at the frame of a sample.

Law: what is unknown or older than STALE_MS does not hold.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from carnet.offers import Condition
from carnet_agent.plan import SignalInfo

from .chunk import Chunk, Run
from .exact import INT64_MAX, Affine, fraction, scaled_floats

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


@dataclass(slots=True)
class Watch:
    """One condition on one signal, and what is known of it since the chunks before."""

    info: SignalInfo
    condition: Condition
    _affine: Affine | None = None
    _bound: int = 0
    _known_ms: int = _NEVER
    _held: bool = False

    def __post_init__(self) -> None:
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
        truth = np.concatenate(([self._held], self._truth(run)))
        known_ms = np.concatenate(([self._known_ms], run.time_ms))
        newest = run.frame.searchsorted(np.arange(len(chunk.time_ms)), side="right")
        self._held, self._known_ms = bool(truth[-1]), int(known_ms[-1])
        fresh: Mask = chunk.time_ms - known_ms.take(newest) <= STALE_MS
        return fresh & truth.take(newest)

    def _truth(self, run: Run) -> Mask:
        compare = _COMPARE[self.condition.op]
        if self._affine is None:
            return np.asarray(compare(scaled_floats(self.info, run.raw), float(self.condition.value)), bool)
        value, good = self._affine.apply(run.raw)
        if good is None and abs(self._bound) <= INT64_MAX:
            return np.asarray(compare(value, self._bound), bool)
        raw = run.raw.view(np.uint64) if self._affine.unsigned else run.raw
        exact = raw.astype(object) * self._affine.times + self._affine.plus
        return np.asarray(compare(exact, self._bound * self._affine.over), bool)


class Watches:
    """All conditions that columns depend on."""

    def __init__(self) -> None:
        self._watches: dict[Condition, Watch] = {}
        self._now: dict[Condition, Mask] = {}
        self._held: dict[Whens, Mask] = {}

    def watch(self, wanted: Iterable[tuple[Condition, SignalInfo]]) -> None:
        """Look at these from now on; what is known of those that stay is kept."""
        before = self._watches
        self._watches = {condition: before.get(condition) or Watch(info, condition) for condition, info in wanted}

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
