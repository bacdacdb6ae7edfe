"""Many datagrams in one system call, straight into numpy arrays, with their kernel stamps and the drop counter.

Law: it only ever receives. The layouts are those of 64-bit Linux; elsewhere opening is refused.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carnet.errors import ConfigError
from carnet_agent.bus.canframe import OVERSIZED, SLOT

SO_TIMESTAMPNS = 35
SO_RXQ_OVFL = 40
MSG_TRUNC = int(socket.MSG_TRUNC)

# struct cmsghdr with a timespec (SCM_TIMESTAMPNS), then one with the 32-bit drop counter, which is there only once
# something has been dropped. The kernel writes them in this order (sock_recv_cmsgs).
_CONTROL = np.dtype(
    [
        ("stamp_length", "=u8"),
        ("stamp_level", "=i4"),
        ("stamp_type", "=i4"),
        ("seconds", "=i8"),
        ("nanoseconds", "=i8"),
        ("drops_length", "=u8"),
        ("drops_level", "=i4"),
        ("drops_type", "=i4"),
        ("drops", "=u4"),
        ("padding", "=u4"),
    ]
)
_STAMP_SIZE = 32
_IOVEC = np.dtype([("base", "=u8"), ("length", "=u8")])
_MMSGHDR = np.dtype(
    [
        ("name", "=u8"),
        ("name_length", "=u8"),
        ("iovec", "=u8"),
        ("iovec_count", "=u8"),
        ("control", "=u8"),
        ("control_length", "=u8"),
        ("flags", "=i4"),
        ("flags_padding", "=u4"),
        ("size", "=u4"),
        ("padding", "=u4"),
    ]
)


class Messages:
    """Room for ``room`` datagrams, used again at every call: what it shows is overwritten by the next ``receive``."""

    def __init__(self, room: int) -> None:
        if not hasattr(socket, "AF_UNIX") or ctypes.sizeof(ctypes.c_void_p) != 8:
            raise ConfigError(
                "needs_64_bit_linux", "reading a socket directly needs 64-bit Linux: use another interface"
            )
        function = getattr(ctypes.CDLL(None, use_errno=True), "recvmmsg", None)
        if function is None:
            raise ConfigError("no_recvmmsg", "this system has no recvmmsg: use another interface")
        function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
        self._recvmmsg = function
        self.room = room
        self._slots = np.zeros(room, SLOT)
        self._control = np.zeros(room, _CONTROL)
        self._iovec = np.zeros(room, _IOVEC)
        self._header = np.zeros(room, _MMSGHDR)
        index = np.arange(room, dtype=np.uint64)
        self._iovec["base"] = self._slots.ctypes.data + index * SLOT.itemsize
        self._iovec["length"] = SLOT.itemsize
        self._header["iovec"] = self._iovec.ctypes.data + index * _IOVEC.itemsize
        self._header["iovec_count"] = 1
        self._header["control_length"] = _CONTROL.itemsize
        self._header["control"] = self._control.ctypes.data + index * _CONTROL.itemsize
        self._address = self._header.ctypes.data
        self._count = 0

    def receive(self, descriptor: int) -> int:
        """How many datagrams were waiting, at most ``room``; never waits. OSError if the socket has failed."""
        self._header["control_length"][: self._count] = _CONTROL.itemsize  # the kernel left the length that it used
        count = self._recvmmsg(descriptor, self._address, self.room, socket.MSG_DONTWAIT, None)
        if count < 0:
            number = ctypes.get_errno()
            if number not in (errno.EAGAIN, errno.EINTR):
                raise OSError(number, os.strerror(number))
            count = 0
        self._count = int(count)
        return self._count

    @property
    def slots(self) -> NDArray[Any]:
        """(n,) of SLOT. A view: bytes behind a shorter datagram are left over from earlier ones."""
        return self._slots[: self._count]

    @property
    def sizes(self) -> NDArray[np.uint32]:
        """(n,) bytes of each datagram; OVERSIZED where it was longer than a slot."""
        header = self._header[: self._count]
        return np.where(header["flags"] & MSG_TRUNC, np.uint32(OVERSIZED), header["size"])

    def stamps_ns(self, otherwise_ns: int) -> NDArray[np.int64]:
        """(n,) CLOCK_REALTIME at which the kernel took each datagram; ``otherwise_ns`` where it did not say."""
        control = self._control[: self._count]
        said = self._header["control_length"][: self._count] >= _STAMP_SIZE
        said &= control["stamp_type"] == SO_TIMESTAMPNS
        stamps: NDArray[np.int64] = control["seconds"] * 1_000_000_000 + control["nanoseconds"]
        return stamps if said.all() else np.where(said, stamps, otherwise_ns)

    @property
    def drops(self) -> int | None:
        """The kernel's drop counter at the newest datagram, modulo 2**32; None while it has not said one."""
        if not self._count:
            return None
        last = self._count - 1
        control = self._control[last]
        if self._header["control_length"][last] < _CONTROL.itemsize or control["drops_type"] != SO_RXQ_OVFL:
            return None
        return int(control["drops"])


assert (SLOT.itemsize, _CONTROL.itemsize, _IOVEC.itemsize, _MMSGHDR.itemsize) == (72, 56, 16, 64)
