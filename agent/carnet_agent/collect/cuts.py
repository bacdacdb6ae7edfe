"""Cuts: what columns have kept, as one batch per set of records and delivery class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from carnet.batch import Batch
from carnet.schema import Column as Form
from carnet.schema import Schema
from carnet.signals import DeliveryClass
from carnet_agent.collect.column import Column

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
    sealed_to: bytes | None = None
    """The key of the recipient that alone may open it; None: the cloud may."""


@dataclass(slots=True)
class Cutter:
    """Makes batches; keeps the schemas, because a car makes the same ones again and again."""

    _schemas: dict[tuple[tuple[Form, ...], tuple[int, ...]], Schema] = field(default_factory=dict)

    def cuts(self, columns: Sequence[Column], *, checkpoint: bool = False) -> list[Cut]:
        """Everything kept, or with ``checkpoint`` only what came since the one before; columns are not cleared.

        In the order of records and classes. A cut names all columns of its set, also those without a sample, so that a
        set has one schema for as long as it lasts.
        """
        boxes: defaultdict[tuple[tuple[bytes, ...], DeliveryClass, bytes], list[Column]] = defaultdict(list)
        for column in columns:
            boxes[column.key.records, column.key.delivery_class, column.key.sealed_to or b""].append(column)
        cuts = [self._cut(*target, boxes[target], checkpoint) for target in sorted(boxes)]
        if checkpoint:
            for column in columns:
                column.checked = len(column.pieces)
        return [cut for cut in cuts if cut is not None]

    def _cut(
        self,
        records: tuple[bytes, ...],
        delivery_class: DeliveryClass,
        sealed_to: bytes,
        columns: list[Column],
        checkpoint: bool,
    ) -> Cut | None:
        groups: dict[tuple[object, ...], int] = {}
        times: list[Int64] = []
        members: list[list[tuple[Form, Int64]]] = []
        for column in columns:
            time_ms, values = column.taken(column.checked if checkpoint else 0)
            group = groups.setdefault((*column.lane, time_ms.tobytes()), len(groups))
            if group == len(times):
                times.append(time_ms)
                members.append([])
            members[group] += zip(column.forms, values, strict=True)
        filled = [time_ms for time_ms in times if len(time_ms)]
        if not filled:
            return None
        forms = tuple(form for group in members for form, _ in group)
        schema = self._schema(forms, tuple(n for n, group in enumerate(members) for _ in group))
        batch = Batch(schema, tuple(times), tuple(values for group in members for _, values in group))
        first_ms, last_ms = min(int(each[0]) for each in filled), max(int(each[-1]) for each in filled)
        return Cut(records, delivery_class, batch, first_ms, last_ms, sealed_to or None)

    def _schema(self, forms: tuple[Form, ...], groups: tuple[int, ...]) -> Schema:
        found = self._schemas.get((forms, groups))
        if found is None:
            if len(self._schemas) >= SCHEMAS_KEPT:
                self._schemas.clear()
            columns = tuple(replace(form, group=group) for form, group in zip(forms, groups, strict=True))
            found = self._schemas[forms, groups] = Schema(columns)
        return found
