"""Connections of this process that a library keeps to itself: cut by the address at their other end.

Law: what lies in their buffers is taken back, and the library can write no more to them. A descriptor that was closed
and given to somebody else meanwhile is told by its other end, which is asked of a copy that nobody can take away.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from pathlib import Path

from carnet_cloud.recipients.cutting import shut

DESCRIPTORS = "/proc/self/fd"
Address = tuple[str, int]


def addresses(host: str, port: int) -> set[Address]:
    """Every address that this name has now; none if it has none."""
    try:
        return {(found[4][0], port) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}  # type: ignore[misc]
    except OSError:
        return set()


def cut_connections(peers: Collection[Address]) -> int:
    """How many there were."""
    count = 0
    for name in os.listdir(DESCRIPTORS):
        copy = _copy(name)
        if copy is not None:
            with copy:
                if _peer(copy) in peers:
                    shut(copy)
                    count += 1
    return count


def _copy(name: str) -> socket.socket | None:
    """The same connection under another number; None if it is no connection."""
    try:
        if not Path(DESCRIPTORS, name).is_socket():
            return None
        return socket.socket(fileno=os.dup(int(name)))
    except OSError:
        return None


def _peer(opened: socket.socket) -> Address | None:
    try:
        peer = opened.getpeername()
    except OSError:
        return None
    return (peer[0], peer[1]) if isinstance(peer, tuple) else None
