"""What one input may cost: memory above what the process held before, and CPU time.

Law: an input that costs too much is a failure like one that crashes; the measure is the kernel's, so that memory taken
by C code counts too.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

CPU_S_MAX: Final = 2.0
_RSS: Final = re.compile(rb"VmHWM:\s+(\d+) kB.*VmRSS:\s+(\d+) kB", re.DOTALL)


class TooMuchError(Exception):
    """An input has cost more than it may."""


class Guard:
    """Calls a check and measures it."""

    def __init__(self, memory_bytes_max: int, cpu_s_max: float = CPU_S_MAX) -> None:
        self._memory_bytes_max = memory_bytes_max
        self._cpu_s_max = cpu_s_max
        self._status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        self.peak_bytes = 0
        """The most that one input took, as far as it can be seen."""

    def forget(self) -> None:
        """From here on only what is new counts as a peak: start-up takes more than any input may."""
        Path("/proc/self/clear_refs").write_text("5")

    def run(self, check: Callable[[bytes], None], data: bytes) -> None:
        """TooMuchError, or whatever the check raises."""
        highest_before, before = self._memory()
        started_s = time.process_time()
        check(data)
        cpu_s = time.process_time() - started_s
        highest, _ = self._memory()
        if highest > highest_before:
            # a lower peak than an earlier input's cannot be seen, and was judged then
            self.peak_bytes = max(self.peak_bytes, highest - before)
            if highest - before > self._memory_bytes_max:
                raise TooMuchError(f"{highest - before >> 10} kB of memory for {len(data)} bytes of input")
        if cpu_s > self._cpu_s_max:
            raise TooMuchError(f"{cpu_s:.1f} s of CPU for {len(data)} bytes of input")

    def _memory(self) -> tuple[int, int]:
        """(highest, present) resident bytes."""
        found = _RSS.search(os.pread(self._status, 4096, 0))
        assert found is not None
        return int(found[1]) << 10, int(found[2]) << 10
