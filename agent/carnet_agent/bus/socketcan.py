"""Reading SocketCAN: a raw socket drained by ``recvmmsg``, filtered and stamped by the kernel.

Law: this socket is never written to, and a frame that no grant covers does not leave the kernel.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from carnet.logs import told
from carnet_agent.bus.canframe import data_frames
from carnet_agent.bus.filters import Filter, kernel_filters
from carnet_agent.bus.reader import Backoff, BusCounters, Identifier
from carnet_agent.bus.recvmmsg import SO_RXQ_OVFL, SO_TIMESTAMPNS, Messages
from carnet_agent.dbc.plan import Match
from carnet_agent.frames import Frames
from carnet_agent.instant import Instant

SO_RCVBUFFORCE = 33
CAN_RAW_ERR_FILTER = 2
ERROR_CLASSES = 0x1FFFFFFF
"""CAN_ERR_MASK: error frames are asked for, to be counted."""
RECEIVE_BUFFER_BYTES = 4 << 20
"""About 11,000 frames, over a second of a full bus; the kernel's default holds 280, or 60 ms."""
ROOM = 512
"""Datagrams per system call; a full bus brings 400 in the longest drain interval."""
BATCHES_MAX = 64
"""After so many full calls the rest waits for the next drain, so that a flood cannot hold the agent's loop."""
PASS_ALL = (Filter(0, 0),)

log = logging.getLogger(__name__)


class Source(Protocol):
    """Where datagrams that hold CAN frames come from."""

    def open(self, filters: Sequence[Filter]) -> socket.socket:
        """A socket with these filters in force before its first datagram; OSError if it is not to be had."""

    def filter(self, opened: socket.socket, filters: Sequence[Filter]) -> None:
        """Put other filters in force; no filters let nothing through."""


@dataclass(frozen=True, slots=True)
class CanInterface:
    """A CAN network interface of this machine, such as can0."""

    name: str
    receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES

    def open(self, filters: Sequence[Filter]) -> socket.socket:
        opened = socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW)
        try:
            opened.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FD_FRAMES, 1)
            opened.setsockopt(socket.SOL_CAN_RAW, CAN_RAW_ERR_FILTER, ERROR_CLASSES)
            self.filter(opened, filters)
            prepare(opened, self.receive_buffer_bytes)
            opened.bind((self.name,))  # last: an unfiltered frame is never even queued
        except OSError:
            opened.close()
            raise
        return opened

    def filter(self, opened: socket.socket, filters: Sequence[Filter]) -> None:
        packed = b"".join(struct.pack("=II", each.can_id, each.mask) for each in filters)
        opened.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FILTER, packed)


def prepare(opened: socket.socket, receive_buffer_bytes: int) -> None:
    """Ask for kernel stamps, the drop counter and a large queue; beyond the system's limit if we have the right."""
    opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    opened.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
    try:
        opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, receive_buffer_bytes)
    except PermissionError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)


def to_boottime(stamps_ns: NDArray[np.int64], now: Instant, drained_ns: int) -> NDArray[np.int64]:
    """Kernel stamps (CLOCK_REALTIME) on CLOCK_BOOTTIME, each within [previous drain, this drain].

    The clamp bounds what a step of the real-time clock between stamp and drain can do to one drain interval.
    """
    time_ns = stamps_ns + (now.boot_ns - now.real_ns)
    np.maximum(time_ns, drained_ns, out=time_ns)
    return np.minimum(time_ns, now.boot_ns, out=time_ns)  # half the cost of np.clip at the size of a drain


class SocketReader:
    """One bus behind a datagram socket: SocketCAN, or any other that carries the same structures."""

    def __init__(self, source: Source, bus: int, match: Match = "id") -> None:
        self._source = source
        self._bus = bus
        self._match = match
        self._identifiers: frozenset[Identifier] | None = frozenset()
        self._filters: Sequence[Filter] = ()
        self._messages = Messages(ROOM)
        self._socket: socket.socket | None = None
        self._closed = False
        self._drained_ns = 0
        self._drops = 0
        self._backoff = Backoff()
        self._fault: str | None = "not_open_yet"
        self._counters = BusCounters()

    @property
    def counters(self) -> BusCounters:
        return self._counters

    @property
    def fault(self) -> str | None:
        """See BusReader; an interface that came back up is known by its next frame."""
        return self._fault

    def read(self, now: Instant) -> Frames:
        if not self._opened(now):
            return Frames.empty()
        blocks: list[Frames] = []
        for _ in range(BATCHES_MAX):
            count = self._receive(now)
            if count:
                stamps_ns = self._messages.stamps_ns(now.real_ns)
                time_ns = to_boottime(stamps_ns, now, self._drained_ns)
                blocks.append(
                    data_frames(self._messages.slots, self._messages.sizes, time_ns, self._bus, self._counters)
                )
            if count < ROOM:
                self._drained_ns = now.boot_ns  # the queue was empty: whatever comes next is younger
                break
        return Frames.concat(blocks)

    def set_identifiers(self, identifiers: Collection[Identifier] | None) -> None:
        wanted = None if identifiers is None else frozenset(identifiers)
        if wanted == self._identifiers:
            return
        narrowed = wanted is not None and (self._identifiers is None or not self._identifiers <= wanted)
        self._identifiers = wanted
        self._filters = PASS_ALL if wanted is None else kernel_filters(wanted, self._match)
        if self._socket is None:
            return
        try:
            self._source.filter(self._socket, self._filters)
            if narrowed:
                self._discard_queue(self._socket)
        except OSError as error:
            # Never go on with a filter that is too wide: the next socket is opened with the right one.
            self._interrupted(error)

    def close(self) -> None:
        self._closed = True
        self._release()

    def _opened(self, now: Instant) -> bool:
        if self._socket is not None:
            return True
        if self._closed or not self._backoff.due(now.boot_ns):
            return False
        try:
            self._socket = self._source.open(self._filters)
        except OSError as error:
            self._counters.open_failed += 1
            self._backoff.failed(now.boot_ns)
            self._note(_reason(error))
            return False
        self._counters.opened += 1
        self._drained_ns = now.boot_ns
        self._drops = 0
        self._note(None)
        return True

    def _receive(self, now: Instant) -> int:
        """Datagrams now in ``_messages``; a failed socket is let go of and gives none."""
        if self._socket is None:
            return 0
        try:
            count = self._messages.receive(self._socket.fileno())
        except OSError as error:
            self._interrupted(error)
            if self._socket is None:
                self._backoff.failed(now.boot_ns)
            return 0
        if count:
            self._backoff.succeeded()
            self._count_drops()
            self._note(None)
        return count

    def _count_drops(self) -> None:
        drops = self._messages.drops
        if drops is not None:
            self._counters.dropped += (drops - self._drops) & 0xFFFFFFFF
            self._drops = drops

    def _discard_queue(self, opened: socket.socket) -> None:
        """Throw away what the old filter let in; bounded, because the new filter lets frames in meanwhile."""
        for _ in range(BATCHES_MAX):
            count = self._messages.receive(opened.fileno())
            self._counters.discarded += count
            self._count_drops()
            if count < ROOM:
                return
        raise OSError(errno.EOVERFLOW, "the queue does not end")

    def _interrupted(self, error: OSError) -> None:
        self._counters.interrupted += 1
        self._note(_reason(error))
        # A socket whose interface went down works again once it is up; one whose interface is gone never does.
        if error.errno != errno.ENETDOWN:
            self._release()

    def _release(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None

    def _note(self, fault: str | None) -> None:
        if fault != self._fault:
            self._fault = fault
            level, event = (logging.INFO, "bus_receiving") if fault is None else (logging.WARNING, "bus_fault")
            log.log(level, "bus %d: %s", self._bus, fault or "receiving", extra=told(event, fault or "", bus=self._bus))


def _reason(error: OSError) -> str:
    known = {
        errno.ENODEV: "no_such_interface",
        errno.ENXIO: "no_such_interface",
        errno.ENETDOWN: "interface_down",
        errno.EAFNOSUPPORT: "no_can_in_kernel",
        errno.EPERM: "not_permitted",
        errno.EACCES: "not_permitted",
    }
    return known.get(error.errno or 0, errno.errorcode.get(error.errno or 0, "unknown").lower())
