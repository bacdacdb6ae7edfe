"""Bounds that several formats share. A bound that is written down can be tested."""

from __future__ import annotations

from typing import Final

NUMBER_MAX: Final = 2**53 - 1
"""Largest number anywhere: the largest integer that every JSON reader keeps exactly."""

MESSAGE_BYTES_MAX: Final = 262_144
"""Largest envelope and largest down message."""

BODY_BYTES_MAX: Final = 65_536
"""Largest body in canonical JSON."""

INFLATED_BYTES_MAX: Final = 1_048_576
"""Largest schema or grant set after inflating."""
