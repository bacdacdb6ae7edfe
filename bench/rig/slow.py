"""A recipient that reads slowly, in a process of its own, and tells what its kernel has received.

    python -m bench.rig.slow

It prints its port. For each line on standard input it prints (bytes received so far, when the last came in seconds of
CLOCK_MONOTONIC) of every connection: what was read, and what lies unread in the kernel. TCP_INFO says when, but not how
much: it counts the end of a connection as a byte, and over a bad network that comes late.
"""

from __future__ import annotations

import fcntl
import json
import re
import select
import socket
import struct
import sys
import termios
import threading
import time
from contextlib import suppress

HOST = "127.0.0.1"
PIECE_BYTES, PAUSE_S = 2048, 0.01
RECEIVE_BUFFER_BYTES = 16_384
TCP_INFO_BYTES, LAST_DATA_RECEIVED = 104, 52
"""Of ``struct tcp_info`` so much, and therein the offset of: milliseconds ago (u32)."""
LENGTH = re.compile(rb"(?i)content-length: *(\d+)")


class Slow:
    """Takes every event, 200 kB/s at most, and confirms it."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._listener.bind((HOST, 0))
        self._listener.listen()
        self._read_of: dict[socket.socket, int] = {}
        self._turn = threading.Lock()
        self.port: int = self._listener.getsockname()[1]

    def serve(self) -> None:
        while True:
            opened, _ = self._listener.accept()
            self._read_of[opened] = 0
            threading.Thread(target=self._read, args=(opened,), daemon=True).start()

    def received(self) -> tuple[int, float]:
        """(bytes, when the last came); connections stay open here so that they can be asked after their end."""
        total, last_s = 0, 0.0
        with self._turn:
            for opened, read in list(self._read_of.items()):
                count = read + unread(opened)
                if count:
                    total += count
                    info = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
                    last_s = max(
                        last_s, time.monotonic() - struct.unpack_from("=I", info, LAST_DATA_RECEIVED)[0] / 1000
                    )
        return total, last_s

    def _read(self, opened: socket.socket) -> None:
        data = bytearray()
        with suppress(OSError):
            while piece := self._piece(opened):
                data += piece
                time.sleep(PAUSE_S)
                head, found, body = bytes(data).partition(b"\r\n\r\n")
                length = LENGTH.search(head)
                if found and length and len(body) >= int(length[1]):
                    opened.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    data.clear()

    def _piece(self, opened: socket.socket) -> bytes:
        """What is read and what is counted is the same to whoever asks."""
        select.select([opened], [], [])
        with self._turn:
            piece = opened.recv(PIECE_BYTES)
            self._read_of[opened] += len(piece)
        return piece


def unread(opened: socket.socket) -> int:
    """Bytes in the kernel's queue (SIOCINQ), without the end of the connection."""
    return int.from_bytes(fcntl.ioctl(opened, termios.FIONREAD, bytes(4)), sys.byteorder)


def main() -> None:
    slow = Slow()
    threading.Thread(target=slow.serve, daemon=True).start()
    print(slow.port, flush=True)
    for _ in sys.stdin:
        print(json.dumps(slow.received()), flush=True)


if __name__ == "__main__":
    main()
