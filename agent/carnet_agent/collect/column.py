"""One column at work: samples of a signal on their way through conditions, value and thinning, and what was kept."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from carnet.schema import Column as Form
from carnet.transforms import LATITUDE
from carnet_agent.collect import cell, forms
from carnet_agent.collect.aggregate import Row, Windows
from carnet_agent.collect.chunk import Chunk, Run
from carnet_agent.collect.conditions import Watches
from carnet_agent.collect.deadband import NOTHING, Changes, Difference
from carnet_agent.collect.exact import floats
from carnet_agent.collect.rate import FREE_ALWAYS
from carnet_agent.collect.rounding import Rounding
from carnet_agent.collect.wants import ColumnKey
from carnet_agent.dbc.mapping import MappedSignal
from carnet_agent.dbc.plan import SignalInfo

Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
BYTES_PER_SAMPLE = 2
"""Of a body, roughly; only for the decision to cut."""


class Column:
    """State and kept samples of one column key."""

    def __init__(
        self,
        key: ColumnKey,
        info: SignalInfo,
        mapped: MappedSignal,
        *,
        plan_group: int,
        since_ms: int,
        latitude: SignalInfo | None,
    ) -> None:
        """``plan_group``: signals that come in the same frames have the same one.

        ``latitude``: the signal that longitudes are snapped with. Samples from before ``since_ms`` are not taken.
        """
        transform = key.transform
        by_value = transform.on_change or transform.dead_band is not None
        self.lane: tuple[object, ...] = (
            (key.signal, transform)
            if by_value
            else (plan_group, transform.interval_ms, transform.aggregate, key.interval_ms_min, key.whens)
        )
        """Columns of one lane may have the same times, because they keep the same frames by the same rule."""
        self.key = key
        self.forms: tuple[Form, ...] = forms.columns_of(info, mapped, transform)
        self.pieces: list[tuple[Int64, tuple[Int64, ...]]] = []
        """(times, values per form) in the order of capture."""
        self.checked = 0
        """Pieces that a checkpoint holds already."""
        self.samples = 0
        self._info = info
        self._since_ms = since_ms
        self._floor_free_ms = FREE_ALWAYS
        self._free_ms = FREE_ALWAYS
        step = forms.step_of(info, transform)
        self._rounding = None if step is None else Rounding.of(info, step)
        self._is_latitude = mapped.path == LATITUDE
        self._latitude = None if latitude is None else Rounding.of(latitude, cell.UNIT)
        self._finite_only = step is None and info.is_float and transform.dead_band is not None
        self._changes: Changes | None = None
        if transform.on_change or transform.dead_band is not None:
            difference = Difference.of(info, transform.dead_band, step)
            self._changes = Changes(difference, transform.interval_ms or 0, FREE_ALWAYS)
        self._windows: Windows | None = None
        if transform.aggregate is not None:
            aggregate = transform.aggregate
            self._windows = Windows(aggregate.window_ms, aggregate.fields, forms.mean_parts(transform))

    def feed(self, chunk: Chunk, watches: Watches, dropped: Counter[str]) -> None:
        """Take the samples of a chunk; what cannot be told is counted in ``dropped``."""
        run = self._admitted(chunk, watches)
        if run is None or not len(run):
            return
        values, good, reason = self._values(run, chunk)
        time_ms = run.time_ms
        if good is not None:
            dropped[reason] += int(len(good) - good.sum())
            time_ms, values = time_ms[good], values[good]
        if self._windows is not None:
            self._keep_rows(self._windows.add(time_ms, values))
            dropped["overflow"] += self._windows.overflowed
            self._windows.overflowed = 0
        elif self._changes is not None:
            self._keep(*self._changes.keep(time_ms, values))
        elif self.key.transform.interval_ms is not None:
            index, times, self._free_ms = chunk.kept(time_ms, self.key.transform.interval_ms, self._free_ms)
            self._keep(times, values.take(index))
        else:
            self._keep(time_ms, values)

    def advance(self, now_ms: int) -> None:
        """Emit what time alone brings: everything captured before ``now_ms`` was fed."""
        if self._windows is not None:
            self._keep_rows(self._windows.advance(now_ms))
        elif self._changes is not None:
            self._keep(*self._changes.advance(now_ms))

    def end(self, now_ms: int) -> None:
        """The column ends: what was still to come of it comes now."""
        if self._windows is not None:
            self._keep_rows(self._windows.close(now_ms))
        elif self._changes is not None:
            self._keep(*self._changes.release())

    def taken(self, since: int = 0) -> tuple[Int64, tuple[Int64, ...]]:
        """Times and values per form of all pieces from the one with this number on."""
        if len(self.pieces) <= since:
            return NOTHING, (NOTHING,) * len(self.forms)
        times = np.concatenate([times for times, _ in self.pieces[since:]])
        values = zip(*(values for _, values in self.pieces[since:]), strict=True)
        return times, tuple(np.concatenate(one) for one in values)

    def clear(self) -> None:
        """Forget what was kept; state stays."""
        self.pieces, self.checked, self.samples = [], 0, 0

    def _admitted(self, chunk: Chunk, watches: Watches) -> Run | None:
        run = chunk.runs.get(self.key.signal)
        if run is None:
            return None
        if run.time_ms[0] < self._since_ms:
            run = run.where(run.time_ms >= self._since_ms)
        if self.key.whens:
            run = run.where(watches.hold(self.key.whens).take(run.frame))
        if self.key.interval_ms_min:
            index, times, self._floor_free_ms = chunk.kept(run.time_ms, self.key.interval_ms_min, self._floor_free_ms)
            run = Run(times, run.frame.take(index), run.raw.take(index))
        return run

    def _values(self, run: Run, chunk: Chunk) -> tuple[Int64, Mask | None, str]:
        """(integers of the column, which of them there are; None: all, why the others are not)."""
        if self._rounding is None:
            return self._as_it_is(run)
        values, good = self._rounding.apply(run.raw)
        reason = "not_finite" if self._info.is_float else "overflow"
        cell_m = self.key.transform.cell_m
        if cell_m is None:
            return values, good, reason
        if self._is_latitude:
            return cell.snap_latitude(values, cell_m), good, reason
        latitude, paired = self._latitudes(run, chunk)
        good = paired if good is None else good & paired
        return cell.snap_longitude(values, cell.snap_latitude(latitude, cell_m), cell_m), good, "cell_alone"

    def _as_it_is(self, run: Run) -> tuple[Int64, Mask | None, str]:
        good = np.isfinite(floats(self._info, run.raw)) if self._finite_only else None
        raw = run.raw
        if self._info.kind == "float16":
            raw = floats(self._info, raw).astype(np.float32).view(np.uint32).astype(np.int64)
        return raw, None if good is None or good.all() else good, "not_finite"

    def _latitudes(self, run: Run, chunk: Chunk) -> tuple[Int64, Mask]:
        """The latitude of each frame in units of a cell, and where there is one."""
        other = None if self._latitude is None else chunk.runs.get(self._latitude.info.index)
        if self._latitude is None or other is None or not len(other):
            return np.zeros(len(run), np.int64), np.zeros(len(run), bool)
        at = other.frame.searchsorted(run.frame).clip(max=len(other) - 1)
        units, good = self._latitude.apply(other.raw.take(at))
        paired = other.frame.take(at) == run.frame
        return units, paired if good is None else paired & good

    def _keep(self, time_ms: Int64, values: Int64) -> None:
        if len(time_ms):
            self.pieces.append((time_ms, (values,)))
            self.samples += len(time_ms)

    def _keep_rows(self, rows: list[Row]) -> None:
        if rows:
            times = np.array([time for time, _ in rows], np.int64)
            values = np.array([row for _, row in rows], np.int64)
            self.pieces.append((times, tuple(values.T.copy())))
            self.samples += values.size
