"""When a window closes: what the delivery classes promise, and never more in one than a box should hold.

Law 5: between two closings a checkpoint every ten seconds bounds what a power cut can take.
"""

from __future__ import annotations

from typing import Final

from carnet.signals import DeliveryClass

LENGTH_MS: Final = {DeliveryClass.BACKGROUND: 60_000, DeliveryClass.LIVE: 10_000}
SIZE_BYTES: Final = 16_384
CHECKPOINT_MS: Final = 10_000
ALL: Final = frozenset(DeliveryClass)


class Window:
    """The open windows of one unit; times in milliseconds of BOOTTIME."""

    def __init__(self, boot_ms: int) -> None:
        self._opened = dict.fromkeys(LENGTH_MS, boot_ms)
        self._checkpoint_ms = boot_ms

    def due(self, boot_ms: int, size_bytes: int, *, event: bool) -> frozenset[DeliveryClass]:
        """The classes whose window closes now. ``size_bytes``: estimate of what is open; ``event``: one is ready."""
        if size_bytes >= SIZE_BYTES:
            return ALL
        found = {each for each, length_ms in LENGTH_MS.items() if boot_ms - self._opened[each] >= length_ms}
        return frozenset(found | {DeliveryClass.EVENT} if event else found)

    def closed(self, classes: frozenset[DeliveryClass], boot_ms: int) -> None:
        """The windows of these classes were closed, and begin again."""
        for each in classes & LENGTH_MS.keys():
            self._opened[each] = boot_ms
        if classes == ALL:
            self._checkpoint_ms = boot_ms

    def checkpoint_due(self, boot_ms: int) -> bool:
        """Whether to keep what came since the last checkpoint."""
        return boot_ms - self._checkpoint_ms >= CHECKPOINT_MS

    def checkpointed(self, boot_ms: int) -> None:
        """It was kept."""
        self._checkpoint_ms = boot_ms
