"""The collector: frames in, and for every set of records exactly the columns that it was granted out.

Law 1: what no grant covers is not even decoded. The exceptions are named: operating signals of the unit's
configuration, conditions, and counters that guard a granted signal; none is ever stored or sent. There is no clock in
here: every time is handed in, in milliseconds of BOOTTIME.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from carnet.grants import Grant
from carnet.narrowing import Ceiling, Mode, Wanted, explain, narrow
from carnet.signals import DeliveryClass
from carnet.transforms import LATITUDE
from carnet_agent.collect.column import BYTES_PER_SAMPLE, Column
from carnet_agent.collect.conditions import Known
from carnet_agent.collect.cuts import Cut, Cutter
from carnet_agent.collect.lane import Lane, Number
from carnet_agent.collect.quality import Rules
from carnet_agent.collect.wants import ColumnKey, catalogue, columns_of, index_paths, signals_of
from carnet_agent.dbc.mapping import MappedSignal
from carnet_agent.dbc.plan import Plan
from carnet_agent.frames import Frames

FRAMES_WAITING_MAX = 8192
WAIT_NS = 1_000_000_000
"""Frames are worked off when this much time lies between them; event columns do not wait."""
_ALL = tuple(DeliveryClass)


class Collector:
    """Collects for one set of grants at a time. One thread."""

    def __init__(
        self,
        plan: Plan,
        mapped: Sequence[MappedSignal],
        *,
        operating: Mapping[str, int] | None = None,
        checksums: Mapping[str, str] | None = None,
    ) -> None:
        """``mapped``: per signal of the plan what the mapping says.

        ``operating``: names of the unit's own -> plan signals. ``checksums``: a DBC's name -> its algorithm, see
        `Mapping.checksum`.
        """
        self._plan = plan
        self._plan_groups = dict(zip(plan.row_signal.tolist(), plan.rows.group.tolist(), strict=True))
        self._mapped = tuple(mapped)
        self._operating = dict(operating or {})
        self._signals = index_paths(self._mapped)
        self._catalogue = catalogue(self._mapped, self._signals)
        rules = Rules.of(plan, self._mapped, checksums or {})
        self._known = Known(len(plan.signals))
        self._steady, self._event = (Lane(plan, rules, self._known) for _ in range(2))
        self._cutter = Cutter()
        self._grants: tuple[Grant, ...] = ()
        self._mode, self._ceiling = Mode.NORMAL, Ceiling()
        self._now_ms: int | None = None
        self._granted: frozenset[int] = frozenset()
        self._select((), (), 0)

    @property
    def wanted(self) -> NDArray[np.int32]:
        """Plan signals that are collected or looked at, ascending: for ``plan.select`` and kernel filters."""
        return np.array(sorted(self._granted | set(self._operating.values())), np.int32)

    @property
    def operating(self) -> dict[str, Number | None]:
        """The last reading of each operating signal; None before the first."""
        return {name: self._steady.readings.get(signal) for name, signal in self._operating.items()}

    @property
    def blocked(self) -> tuple[tuple[str, str, str], ...]:
        """(record, path, reason) of all that is not collected; found without looking at a value."""
        blocks = explain(self._grants, self._catalogue, self._mode, self._ceiling, self._now_ms)
        return tuple((block.record_id, block.path, str(block.reason)) for block in blocks)

    @property
    def dropped(self) -> Counter[str]:
        """Samples that were no readings, by reason, since the start."""
        found: Counter[str] = Counter()
        for lane in (self._steady, self._event):
            found.update(lane.quality.dropped)
            found.update(lane.dropped)
        return +found

    @property
    def event_ready(self) -> bool:
        """A column of class event has something to send."""
        return any(column.pieces for column in self._event.columns)

    @property
    def samples_pending(self) -> int:
        """Samples kept since the last cut; frames that wait are not counted."""
        return sum(column.samples for column in self._columns())

    @property
    def bytes_estimate(self) -> int:
        """Roughly the size of what a cut would give, encoded."""
        return self.samples_pending * BYTES_PER_SAMPLE

    def set_grants(
        self, grants: Sequence[Grant], mode: Mode, ceiling: Ceiling, boot_ms: int, *, now_ms: int | None = None
    ) -> list[Cut]:
        """Collect for these from now on; returns what the window that closes by this has kept for the sets before.

        ``now_ms``: the latest wall time that it can be, see `carnet.narrowing.narrow`. A cut whose records have all
        ended is the caller's to destroy.
        """
        wanted = narrow(grants, self._catalogue, mode, ceiling, now_ms)
        keys = columns_of(wanted, self._signals)
        self._work(boot_ms)
        staying = set(keys)
        for column in self._columns():
            if column.key not in staying:
                column.end(boot_ms)
        cuts = self._take(_ALL)
        self._grants, self._mode, self._ceiling, self._now_ms = tuple(grants), mode, ceiling, now_ms
        self._select(wanted, keys, boot_ms)
        return cuts

    def feed_frames(self, frames: Frames) -> None:
        """Take frames in the order of capture; matched by ISO-TP they are whole messages already."""
        self._steady.put(frames)
        if not self._event.is_idle:
            self._event.put(frames)
            self._event.work()
        if self._steady.waiting_ns >= WAIT_NS or self._steady.waiting >= FRAMES_WAITING_MAX:
            self._steady.work()

    def advance(self, boot_ms: int) -> None:
        """End the intervals and windows of aggregates that time has ended; all captured before ``boot_ms`` was fed."""
        self._work(boot_ms)

    def cut(self, boot_ms: int, classes: Collection[DeliveryClass] | None = None, *, ending: bool = False) -> list[Cut]:
        """Close the window of these classes (None: all) and give what it has kept.

        Everything captured before ``boot_ms`` was fed. ``ending``: the unit stops, so columns end: open aggregates and
        changes that wait for their interval come too.
        """
        self._work(boot_ms)
        chosen = tuple(_ALL if classes is None else classes)
        for column in self._columns(chosen) if ending else ():
            column.end(boot_ms)
        return self._take(chosen)

    def since_checkpoint(self, boot_ms: int) -> list[Cut]:
        """What was kept since the checkpoint before, as a copy; the window stays open."""
        self._work(boot_ms)
        return self._cutter.cuts(self._columns(), checkpoint=True)

    def _work(self, boot_ms: int) -> None:
        for lane in (self._steady, self._event):
            lane.work()
            for column in lane.columns:
                column.advance(boot_ms)

    def _take(self, classes: Collection[DeliveryClass]) -> list[Cut]:
        columns = self._columns(classes)
        cuts = self._cutter.cuts(columns)
        for column in columns:
            column.clear()
        return cuts

    def _columns(self, classes: Collection[DeliveryClass] = _ALL) -> list[Column]:
        columns = (*self._steady.columns, *self._event.columns)
        return [column for column in columns if column.key.delivery_class in classes]

    def _select(self, wanted: Sequence[Wanted], keys: Iterable[ColumnKey], boot_ms: int) -> None:
        self._granted = signals_of(wanted, self._signals)
        self._known.forget_others(self._granted)
        before = {column.key: column for column in self._columns()}
        columns = [before.get(key) or self._column(key, boot_ms) for key in keys]
        events = [column for column in columns if column.key.delivery_class is DeliveryClass.EVENT]
        steady = [column for column in columns if column.key.delivery_class is not DeliveryClass.EVENT]
        self._fill(self._event, events, ())
        self._fill(self._steady, steady, self._operating.values())
        self._event.uncount(self._steady.signals)

    def _column(self, key: ColumnKey, boot_ms: int) -> Column:
        latitude = self._signals.get(LATITUDE)
        info = None if latitude is None or key.transform.cell_m is None else self._plan.signals[latitude]
        return Column(
            key,
            self._plan.signals[key.signal],
            self._mapped[key.signal],
            plan_group=self._plan_groups[key.signal],
            since_ms=boot_ms,
            latitude=info,
        )

    def _fill(self, lane: Lane, columns: Sequence[Column], read: Iterable[int]) -> None:
        conditions = {one for column in columns for when in column.key.whens for one in when}
        infos = {one: self._plan.signals[self._signals[one.path]] for one in conditions}
        lane.watches.watch(infos.items(), self._known)
        signals = {column.key.signal for column in columns} | {info.index for info in infos.values()}
        if any(column.key.transform.cell_m is not None for column in columns):
            # longitudes are snapped with it; only a record that was granted it has such a column
            signals.add(self._signals[LATITUDE])
        lane.select(columns, signals, read)
