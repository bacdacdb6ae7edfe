"""Measuring other processes from outside, and saying on which machine it was."""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, that all threads of a running process have used."""
    # clock_getcpuclockid(3): the process's number, inverted, above three bits that mean "scheduler's account, process"
    return time.clock_gettime((~pid << 3) | 2)


def memory_mb(pid: int, kind: str = "VmRSS") -> float:
    """Memory of a running process in MB of 1024 kB: VmRSS, as the tools show it, or its part RssAnon or RssFile."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(rf"{kind}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


def forget_files(folder: Path) -> None:
    """Let the kernel forget what it keeps in memory of these files, so that they are read as after a boot."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def machine() -> dict[str, str]:
    """Processor, kernel and Python, for the line that a bench ends with."""
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return {
        "cpu": f"{len(names)} x {names[0]}" if names else platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
