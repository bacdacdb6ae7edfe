"""When it was captured: by the envelope's own clock, else by the narrowest anchor of its boot; and who waits for one.

Law 5: a store that fell back judges the same envelope again, and its event has the same id. So what an envelope says of
its time well enough is never changed by what came before it or after it.
"""

from __future__ import annotations

from collections.abc import Sequence

from carnet.times import UNSURE_MS_MAX, Anchor, claimed_anchor
from carnet_cloud.boxes import OpenBox
from carnet_cloud.store import Transaction

HOLD_MS = 30 * 24 * 3_600_000
"""How long a sealed envelope waits for its time at the most."""


def learn_anchor(
    t: Transaction, device: bytes, boxes: Sequence[OpenBox], received_ms: int
) -> tuple[Anchor | None, bool]:
    """The anchor to judge these boxes by: what they claim, unless that is wider than UNSURE_MS_MAX and something
    narrower is known of their boot; None if nothing is. And whether they claim better than what was known: then it is
    known from now on.

    A claim that lies wholly after the receipt is impossible and not taken.
    """
    prelude = boxes[0].prelude

    def width(anchor: Anchor) -> int:
        return anchor.width_at(prelude.boot_ms)

    known = t.streams.anchor(device, prelude.boot_id)
    claims = filter(None, (claimed_anchor(box.prelude) for box in boxes))
    possible = [each for each in claims if each.earliest_ms <= received_ms and each.boot_id == prelude.boot_id]
    own = min(possible, key=width, default=None)
    is_better = own is not None and (known is None or width(own) < width(known))
    if own is not None and is_better:
        t.streams.set_anchor(device, own)
    if own is not None and (is_better or width(own) <= UNSURE_MS_MAX):
        return own, is_better
    return known, False
