"""Who a unit is and what it ever gives: from its identity and its configuration, the same as long as the agent runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from carnet.consent import Ceiling
from carnet.keys import BoxKey, SigningKey
from carnet.keyset import KeySet

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Unit:
    """``device``: 16 bytes; ``cloud``: the key set of the pairing."""

    device: bytes
    sign: SigningKey
    receive: BoxKey
    cloud: KeySet
    ceiling: Ceiling = field(default_factory=Ceiling)
    untimed_ms_max: int = 7 * DAY_MS
    """Powered-on time that a grant lasts while the unit does not know the time."""
    voltage_min: float | None = None
