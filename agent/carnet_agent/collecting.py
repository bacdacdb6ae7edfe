"""What the core asks of a collector; `carnet_agent.collect.Collector` is the one there is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from carnet.consent import Ceiling, Grant, Mode
from carnet.signals import DeliveryClass
from carnet_agent.frames import Frames
from carnet_agent.operating import Number
from carnet_agent.sending.sealer import Cut


class Collecting(Protocol):
    """Frames in, cuts out; times in milliseconds of BOOTTIME."""

    @property
    def wanted(self) -> NDArray[np.int32]: ...
    @property
    def operating(self) -> Mapping[str, Number | None]: ...
    @property
    def blocked(self) -> tuple[tuple[str, str, str], ...]: ...
    @property
    def dropped(self) -> Mapping[str, int]: ...
    @property
    def event_ready(self) -> bool: ...
    @property
    def samples_pending(self) -> int: ...
    @property
    def bytes_estimate(self) -> int: ...
    def set_grants(
        self, grants: Sequence[Grant], mode: Mode, ceiling: Ceiling, boot_ms: int, *, now_ms: int | None = None
    ) -> Sequence[Cut]: ...
    def feed_frames(self, frames: Frames) -> None: ...
    def cut(
        self, boot_ms: int, classes: Collection[DeliveryClass] | None = None, *, ending: bool = False
    ) -> Sequence[Cut]: ...
    def since_checkpoint(self, boot_ms: int) -> Sequence[Cut]: ...
