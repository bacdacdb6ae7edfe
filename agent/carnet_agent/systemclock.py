"""Shell: this machine's clocks as a `carnet_agent.moment.Moment`."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

from carnet_agent.instant import Instant
from carnet_agent.moment import Moment

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
BOOT_ID_BYTES = 8
NS_PER_MS = 1_000_000
UNSYNCHRONISED = 0x40
"""STA_UNSYNC of adjtimex(2)."""
CHECK_NS = 10_000_000_000


class _Timex(ctypes.Structure):
    """The head of struct timex; the kernel fills in what follows, which nobody reads."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


class SystemClock:
    """Reads the clocks; asks the kernel for its synchronisation every ten seconds only."""

    def __init__(self) -> None:
        self._boot_id = boot_id()
        self._synchronised = False
        self._checked_ns: int | None = None

    def moment(self, now: Instant) -> Moment:
        """The moment of an instant."""
        if self._checked_ns is None or now.boot_ns - self._checked_ns >= CHECK_NS:
            self._checked_ns = now.boot_ns
            self._synchronised = synchronised()
        return Moment(now.boot_ns // NS_PER_MS, self._boot_id, now.real_ns // NS_PER_MS, self._synchronised)


def boot_id() -> bytes:
    """8 bytes that are random in every boot; where the kernel names none, made of the moment at which it started."""
    try:
        return bytes.fromhex(BOOT_ID_FILE.read_text(encoding="ascii").strip().replace("-", ""))[:BOOT_ID_BYTES]
    except (OSError, ValueError):
        now = Instant.now()
        return ((now.real_ns - now.boot_ns) // 1_000_000_000).to_bytes(BOOT_ID_BYTES, "big")


def synchronised() -> bool:
    """Whether the kernel's clock is disciplined by NTP or the like; False if it does not say."""
    adjtimex = _adjtimex()
    if adjtimex is None:
        return False
    state = _Timex()
    return adjtimex(ctypes.byref(state)) >= 0 and not state.status & UNSYNCHRONISED


@cache
def _adjtimex() -> ctypes._NamedFuncPointer | None:
    try:
        return ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return None
