"""Cuts: what columns have kept, as one batch per set of records and delivery class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from carnet.batch import Batch
from carnet.schema import Column as Form
from carnet.schema import Schema
from carnet.signals import DeliveryClass

from .column import Column

Int64 = NDArray[np.int64]
SCHEMAS_KEPT = 64


@dataclass(frozen=True, slots=True)
class Cut:
    """What goes into one box."""

    records: tuple[bytes, ...]
    """Ascending ids of ten bytes."""
    delivery_class: DeliveryClass
    batch: Batch
    first_ms: int
    last_ms: int
    """Earliest and latest time in the batch; of an aggregate the time of its rows."""


@dataclass(slots=True)
class Cutter:
    """Makes batches; keeps the schemas, because a car makes the same ones again and again."""

    _schemas: dict[tuple[tuple[Form, ...], tuple[int, ...]], Schema] = field(default_factory=dict)

    def cuts(self, columns: Iterable[Column], *, checkpoint: bool = False) -> list[Cut]:
        """Everything kept, or with ``checkpoint`` only what came since the one before; columns are not cleared.

        In the order of records and classes.
        """
        boxes: defaultdict[tuple[tuple[bytes, ...], DeliveryClass], list[Column]] = defaultdict(list)
        for column in columns:
            if len(column.pieces) > (column.checked if checkpoint else 0):
                boxes[column.key.records, column.key.delivery_class].append(column)
        cuts = [self._cut(*target, boxes[target], checkpoint) for target in sorted(boxes)]
        if checkpoint:
            for column in columns:
                column.checked = len(column.pieces)
        return cuts

    def _cut(
        self, records: tuple[bytes, ...], delivery_class: DeliveryClass, columns: list[Column], checkpoint: bool
    ) -> Cut:
        groups: dict[tuple[tuple[str, str, str], bytes], int] = {}
        times: list[Int64] = []
        members: list[list[tuple[Form, Int64]]] = []
        for column in columns:
            time_ms, values = column.taken(column.checked if checkpoint else 0)
            group = groups.setdefault((column.message, time_ms.tobytes()), len(groups))
            if group == len(times):
                times.append(time_ms)
                members.append([])
            members[group] += zip(column.forms, values, strict=True)
        forms = tuple(form for group in members for form, _ in group)
        schema = self._schema(forms, tuple(n for n, group in enumerate(members) for _ in group))
        batch = Batch(schema, tuple(times), tuple(values for group in members for _, values in group))
        return Cut(records, delivery_class, batch, min(int(t[0]) for t in times), max(int(t[-1]) for t in times))

    def _schema(self, forms: tuple[Form, ...], groups: tuple[int, ...]) -> Schema:
        key = forms, groups
        found = self._schemas.get(key)
        if found is None:
            if len(self._schemas) >= SCHEMAS_KEPT:
                self._schemas.clear()
            columns = tuple(replace(form, group=group) for form, group in zip(forms, groups, strict=True))
            found = self._schemas[key] = Schema(columns)
        return found
