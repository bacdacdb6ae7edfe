"""When it was captured: the narrowest anchor that a device's boot ever had, and who has to wait for one."""

from __future__ import annotations

from collections.abc import Sequence

from carnet.times import Anchor, claimed_anchor
from carnet_cloud.boxes import OpenBox
from carnet_cloud.store import Transaction

HOLD_MS = 30 * 24 * 3_600_000
"""How long a sealed envelope waits for its time at the most."""
UNSURE_MS_MAX = 2000
"""An interval wider than this may still get a better anchor; a narrower one that lies across an end is outside."""


def learn_anchor(t: Transaction, device: bytes, boxes: Sequence[OpenBox], received_ms: int) -> Anchor | None:
    """Take the clock that a device claims, bounded by receipt; the best anchor for its boot, or None if there is none.

    A claim that lies wholly after the receipt is impossible and not taken.
    """
    prelude = boxes[0].prelude
    known = t.streams.anchor(device, prelude.boot_id)
    for claimed in filter(None, (claimed_anchor(box.prelude) for box in boxes)):
        if claimed.earliest_ms > received_ms or claimed.boot_id != prelude.boot_id:
            continue
        if known is None or _width(claimed, prelude.boot_ms) < _width(known, prelude.boot_ms):
            known = claimed
            t.streams.set_anchor(device, claimed)
    return known


def _width(anchor: Anchor, boot_ms: int) -> int:
    earliest, latest = anchor.at(boot_ms)
    return latest - earliest
