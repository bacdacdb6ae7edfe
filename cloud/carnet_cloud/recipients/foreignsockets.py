"""Connections of this process that a library keeps to itself: cut by a mark that it was told to set on them.

Law: what lies in their buffers is taken back, and the library can write no more to them. The mark is a size of the
send buffer that nobody has by chance; it is asked of a copy that nobody can take away, for a descriptor may have been
closed and given to somebody else meanwhile.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

from carnet_cloud.recipients.cutting import arm, shut

DESCRIPTORS = "/proc/self/fd"
MARKS: Final = count(100_001, 2)
"""Bytes of a send buffer, below what any Linux allows. Doubled, as the system does it, an odd number is never the size
that it chooses by itself.
"""


def can_bear(mark: int) -> bool:
    """Whether this system lets a connection have it."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, mark)
        return _bears(tried, mark)


def arm_connections(mark: int) -> None:
    """Those that bear it are reset, whoever closes them."""
    for copy in _marked(mark):
        arm(copy)


def cut_connections(mark: int) -> None:
    """Those that bear it."""
    for copy in _marked(mark):
        shut(copy)


def _marked(mark: int) -> Iterator[socket.socket]:
    for name in os.listdir(DESCRIPTORS):
        copy = _copy(name)
        if copy is not None:
            with copy:
                if _bears(copy, mark):
                    yield copy


def _bears(opened: socket.socket, mark: int) -> bool:
    return opened.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * mark


def _copy(name: str) -> socket.socket | None:
    """The same connection under another number; None if it is no connection."""
    try:
        if not Path(DESCRIPTORS, name).is_socket():
            return None
        return socket.socket(fileno=os.dup(int(name)))
    except OSError:
        return None
