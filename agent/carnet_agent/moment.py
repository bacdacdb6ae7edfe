"""One instant as the unit's clocks show it, handed in with every call: the core owns no clock."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """``boot_ms``: CLOCK_BOOTTIME in milliseconds; ``boot_id``: 8 bytes, new with every boot."""

    boot_ms: int
    boot_id: bytes
    real_ms: int
    """CLOCK_REALTIME in ms since 1970: believed only while ``synchronised``."""
    synchronised: bool = False
    """The kernel says that NTP keeps CLOCK_REALTIME right."""
