"""Trim what is sealed to a recipient to its grant: the cloud, which cannot read it, cannot cut anything out of it.

Law 1: what cannot be shown to lie in the grant goes nowhere. Where the cloud would cut samples out of a box that it can
read, the car cuts them out of one that it cannot, by the same clock and the same rule; else all of it would be denied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carnet.batch import Batch
from carnet.box import Prelude
from carnet.grants import Grant
from carnet.ids import RECORD, format_id
from carnet.limits import NUMBER_MAX
from carnet.signals import DeliveryClass
from carnet.times import UNSURE_MS_MAX, Anchor, Unresolved, claimed_anchor, intervals
from carnet_agent.sending.sealer import Cut


@dataclass(frozen=True, slots=True)
class Trimmed:
    """A cut of which something was cut away."""

    records: tuple[bytes, ...]
    delivery_class: DeliveryClass
    batch: Batch
    sealed_to: bytes | None


def trim(cuts: Iterable[Cut], grants: Mapping[str, Grant], prelude: Prelude) -> list[Cut]:
    """The cuts, those that are sealed to a recipient without the samples outside of their grant.

    ``prelude`` has the clock that the boxes will claim. With one that is too uncertain for the cloud to judge by alone
    nothing is cut: a better one may still tell.
    """
    anchor = claimed_anchor(prelude)
    if anchor is None or anchor.width_at(prelude.boot_ms) > UNSURE_MS_MAX:
        return list(cuts)
    return [kept for cut in cuts if (kept := _trimmed(cut, grants, anchor)) is not None]


def _trimmed(cut: Cut, grants: Mapping[str, Grant], anchor: Anchor) -> Cut | None:
    grant = None if cut.sealed_to is None else grants.get(format_id(RECORD, cut.records[0]))
    if grant is None:
        return cut
    windows = cut.batch.schema.windows
    inside = [_inside(grant, times, w, anchor) for times, w in zip(cut.batch.times, windows, strict=True)]
    if all(mask.all() for mask in inside):
        return cut
    if not any(mask.any() for mask in inside):
        return None
    columns = zip(cut.batch.schema.columns, cut.batch.values, strict=True)
    batch = Batch(
        cut.batch.schema,
        tuple(times[mask] for times, mask in zip(cut.batch.times, inside, strict=True)),
        tuple(values[inside[column.group]] for column, values in columns),
    )
    return Trimmed(cut.records, cut.delivery_class, batch, cut.sealed_to)


def _inside(grant: Grant, times: NDArray[np.int64], window_ms: int, anchor: Anchor) -> NDArray[np.bool_]:
    """Which captures lie in the grant as a whole; a row of an aggregate was captured in its whole window."""
    begins = (times - 1) // window_ms * window_ms if window_ms else times
    early, late = (intervals(anchor.boot_id, each, [anchor], NUMBER_MAX) for each in (begins, times))
    if isinstance(early, Unresolved) or isinstance(late, Unresolved):
        return np.zeros(len(times), np.bool_)
    inside: NDArray[np.bool_] = (early[0] >= grant.covers_from_ms) & (late[1] < grant.expires_ms)
    return inside
