"""Which readings of a box a record may have: those that the gate allows, with the numbers that are kept of them.

Law 1: what may not leave is counted with its reason and cut off here; what no clock can tell waits. Pure: every answer
follows from its arguments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from carnet.batch import Batch
from carnet.codec import encode
from carnet.schema import Schema
from carnet.times import UNSURE_MS_MAX, Anchor, Unresolved, intervals
from carnet_cloud import gate
from carnet_cloud.boxes import DataBox, ReadBox, SealedBox
from carnet_cloud.event import Piece
from carnet_cloud.gate import Blocked, Bounds, Standing
from carnet_cloud.spans import Span, Tally

Withheld = Counter[tuple[str, str, Blocked]]
"""Samples that may not leave, by record, path and reason."""
Refusals = Sequence[Blocked | None]
"""The gate's answer for every column of a schema."""
Mask = NDArray[np.bool_] | None
"""Which rows of a group are chosen; None if all are."""


class TimeUnknown(Exception):
    """The envelope has to wait: its capture times cannot be told, or a better clock may still decide them."""


@dataclass(frozen=True)
class Interval:
    """When the captures of a group began and ended: one moment each, or an aggregate's window."""

    begins: Bounds
    ends: Bounds

    @property
    def earliest(self) -> NDArray[np.int64]:
        return self.begins[0]

    @property
    def latest(self) -> NDArray[np.int64]:
        return self.ends[1]

    @cached_property
    def span_ms(self) -> tuple[int, int]:
        """The earliest and the latest of all rows; of this and the next there is a row at least."""
        return int(self.earliest.min()), int(self.latest.max())

    @property
    def clock_ms(self) -> int:
        """How uncertain the clock alone makes the least sure row."""
        return int((self.ends[1] - self.ends[0]).max())


@dataclass(frozen=True, slots=True)
class Kept:
    """What of one box one record may have, and how much that is. ``schema``: of a piece that is not the whole box,
    which the store may not have from the car.
    """

    piece: Piece
    tally: Tally
    schema: Schema | None = None


class OpenCandidate:
    """A box that the cloud reads: of it a record may have all, a part or nothing."""

    def __init__(self, box: ReadBox, when: Sequence[Interval], anchor: Anchor) -> None:
        self._box = box
        self._when = when
        self._anchor = anchor

    def judge(self, standing: Standing, refusals: Refusals, withheld: Withheld) -> Kept | None:
        """What the record may have; what it may not is added to ``withheld``. TimeUnknown: it has to wait."""
        batch, record = self._box.batch, standing.grant.record_id
        columns = batch.schema.columns
        groups = sorted({column.group for column, refused in zip(columns, refusals, strict=True) if not refused})
        # for what is refused anyhow nothing has to wait
        masks = [_inside(standing, each) if group in groups else None for group, each in enumerate(self._when)]
        if not any(refusals) and all(mask is None for mask in masks):
            return self._whole
        for column, raw, refused in zip(columns, batch.values, refusals, strict=True):
            chosen = 0 if refused else len(_rows(raw, masks[column.group]))
            withheld[record, column.path, refused or Blocked.TIME] += len(raw) - chosen
        part = _allowed_columns(_inside_rows(batch, masks), refusals)
        spans = _spans(part, [self._when[group] for group in groups], [masks[group] for group in groups])
        if not spans:
            return None
        return Kept(Piece(part.schema.hash, encode(part), self._anchor), Tally.of(spans), part.schema)

    @cached_property
    def _whole(self) -> Kept:
        """The box as it came: the same for each record that may have all of it."""
        box, spans = self._box, _spans(self._box.batch, self._when, [None] * len(self._when))
        return Kept(Piece(box.prelude.schema_hash, box.body, self._anchor), Tally.of(spans))


class SealedCandidate:
    """A box that only its recipient opens: of it a record may have all or nothing, by what the car declares."""

    def __init__(self, box: SealedBox, when: Interval, anchor: Anchor) -> None:
        self._box = box
        self._when = when
        self._anchor = anchor

    def judge(self, standing: Standing, refusals: Refusals, withheld: Withheld) -> Kept | None:
        """All, or nothing; then all of it is added to ``withheld``. TimeUnknown: it has to wait."""
        box, counts = self._box, self._box.sealed.declaration.counts
        columns = [
            (column.path, counts[column.group], refused)
            for column, refused in zip(box.schema.columns, refusals, strict=True)
            if counts[column.group]
        ]
        if any(refused for _, _, refused in columns):
            otherwise = Blocked.SEAL
        elif _inside(standing, self._when) is not None:
            otherwise = Blocked.TIME
        else:
            tally = Tally.of([Span(*self._when.span_ms, +box.counts)])
            return Kept(Piece(box.prelude.schema_hash, box.body, self._anchor), tally)
        for path, samples, refused in columns:
            withheld[standing.grant.record_id, path, refused or otherwise] += samples
        return None


def candidate(box: DataBox, anchor: Anchor, received_ms: int) -> OpenCandidate | SealedCandidate:
    """A box with its capture times; TimeUnknown if the anchor cannot tell them.

    A row of an aggregate stands for its whole window (``docs/transforms.md``), so its interval begins with the window.
    Of a sealed box there is one interval, the declared one.
    """
    if isinstance(box, SealedBox):
        declared = box.sealed.declaration
        first_ms, last_ms = (np.array([time_ms], np.int64) for time_ms in (declared.first_ms, declared.last_ms))
        return SealedCandidate(box, _interval(box, first_ms, last_ms, anchor, received_ms), anchor)
    groups = zip(box.batch.times, box.schema.windows, strict=True)
    when = [_interval(box, _begins(times, window), times, anchor, received_ms) for times, window in groups]
    return OpenCandidate(box, when, anchor)


# when it was captured


def _begins(times: NDArray[np.int64], window_ms: int) -> NDArray[np.int64]:
    return (times - 1) // window_ms * window_ms if window_ms else times


def _interval(
    box: DataBox, begins: NDArray[np.int64], ends: NDArray[np.int64], anchor: Anchor, received_ms: int
) -> Interval:
    """Of captures between these moments of BOOTTIME."""
    late = _wall_times(box, ends, anchor, received_ms)
    early = late if begins is ends else _wall_times(box, begins, anchor, received_ms)
    return Interval(early, late)


def _wall_times(box: DataBox, boot_ms: NDArray[np.int64], anchor: Anchor, received_ms: int) -> Bounds:
    """The earliest and the latest of each moment; TimeUnknown if the anchor cannot tell one of them."""
    found = intervals(box.prelude.boot_id, boot_ms, [anchor], received_ms)
    if isinstance(found, Unresolved):
        raise TimeUnknown(str(found))
    return found


def _inside(standing: Standing, interval: Interval) -> Mask:
    """Which rows were captured inside the grant. TimeUnknown if a better clock may still decide some."""
    # a row begins before it ends, as an anchor and a window do; of a declared one the span is all there is
    if not len(interval.latest) or standing.grant.covers(*interval.span_ms):
        return None
    if interval.clock_ms > UNSURE_MS_MAX and gate.unsure(standing.grant, interval.begins, interval.ends).any():
        raise TimeUnknown("unsure")
    return gate.captured_inside(standing.grant, interval.earliest, interval.latest)


# what is left of a batch


def _inside_rows(batch: Batch, masks: Sequence[Mask]) -> Batch:
    """The rows of a batch that lie inside the grant."""
    times = tuple(map(_rows, batch.times, masks))
    values = (_rows(raw, masks[group]) for group, raw in zip(batch.schema.groups, batch.values, strict=True))
    return Batch(batch.schema, times, tuple(values))


def _allowed_columns(batch: Batch, refusals: Refusals) -> Batch:
    """The columns of a batch that are not refused.

    One that is only without a sample stays: a car has one schema for as long as a set of grants lasts, and each
    combination of silent columns would be another one, kept here for ever.
    """
    pairs = zip(batch.schema.columns, batch.values, refusals, strict=True)
    allowed = [(column, raw) for column, raw, refused in pairs if refused is None]
    groups = {group: number for number, group in enumerate(sorted({column.group for column, _ in allowed}))}
    schema = Schema(tuple(replace(column, group=groups[column.group]) for column, _ in allowed))
    return Batch(schema, tuple(batch.times[group] for group in groups), tuple(raw for _, raw in allowed))


def _rows(values: NDArray[np.int64], mask: Mask) -> NDArray[np.int64]:
    return values if mask is None else values[mask]


def _spans(batch: Batch, when: Sequence[Interval], masks: Sequence[Mask]) -> list[Span]:
    """Of each group of a batch that has a sample: how many by path, between its first and its last capture.
    ``masks``: which of the rows of ``when`` are left in it.
    """
    counts: list[Counter[str]] = [Counter() for _ in when]
    for column, raw in zip(batch.schema.columns, batch.values, strict=True):
        counts[column.group][column.path] += len(raw)
    rows = zip(when, masks, counts, strict=True)
    return [Span(*_ends(interval, mask), +each) for interval, mask, each in rows if each.total()]


def _ends(interval: Interval, mask: Mask) -> tuple[int, int]:
    """First and last wall time of the chosen rows."""
    if mask is None:
        return interval.span_ms
    return int(interval.earliest[mask].min()), int(interval.latest[mask].max())
