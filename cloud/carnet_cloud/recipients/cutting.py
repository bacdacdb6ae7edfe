"""Break a connection from any thread, so that nothing more of ours leaves through it.

Law: what lies in the socket's buffer is taken back (SO_LINGER 0 sends a reset), and no writer in another thread goes on
in the clear: ssl's own ``shutdown`` takes its cipher away before the connection ends.
"""

from __future__ import annotations

import socket
import struct

LINGER_RESET = struct.pack("ii", 1, 0)


def reset(opened: socket.socket) -> None:
    """Shut it for both ways and close it."""
    shut(opened)
    opened.close()


def arm(opened: socket.socket) -> None:
    """From now on its closing sends a reset."""
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)


def shut(opened: socket.socket) -> None:
    """From now on no write succeeds, and its closing sends a reset."""
    try:
        arm(opened)
        socket.socket.shutdown(opened, socket.SHUT_RDWR)
    except OSError:
        # it has ended already
        return
