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


def learn_anchor(
    t: Transaction, device: bytes, boxes: Sequence[OpenBox], received_ms: int
) -> tuple[Anchor | None, bool]:
    """The narrowest at the time of these boxes of what they claim and what is known of their boot, None if nothing is;
    and whether it is better than what was known: then it is known from now on.

    A claim that lies wholly after the receipt is impossible and not taken.
    """
    prelude = boxes[0].prelude
    best = known = t.streams.anchor(device, prelude.boot_id)
    for claimed in filter(None, (claimed_anchor(box.prelude) for box in boxes)):
        if claimed.earliest_ms > received_ms or claimed.boot_id != prelude.boot_id:
            continue
        if best is None or _width(claimed, prelude.boot_ms) < _width(best, prelude.boot_ms):
            best = claimed
    if best is None or best == known:
        return best, False
    t.streams.set_anchor(device, best)
    return best, True


def _width(anchor: Anchor, boot_ms: int) -> int:
    earliest, latest = anchor.at(boot_ms)
    return latest - earliest
