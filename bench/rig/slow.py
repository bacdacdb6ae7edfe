"""A recipient that reads slowly, in a process of its own, and tells what its kernel has received.

    python -m bench.rig.slow

It prints its port. For each line on standard input it prints (bytes received so far, when the last came in seconds of
CLOCK_MONOTONIC), read from the kernel's TCP_INFO of every connection: what lies unread in a queue counts too.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import sys
import threading
import time
from contextlib import suppress

HOST = "127.0.0.1"
PIECE_BYTES, PAUSE_S = 2048, 0.01
RECEIVE_BUFFER_BYTES = 16_384
LAST_DATA_RECEIVED, BYTES_RECEIVED = 52, 128
"""Offsets in ``struct tcp_info``: milliseconds ago (u32), bytes (u64)."""
LENGTH = re.compile(rb"(?i)content-length: *(\d+)")


class Slow:
    """Takes every event, 200 kB/s at most, and confirms it."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._listener.bind((HOST, 0))
        self._listener.listen()
        self._opened: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]

    def serve(self) -> None:
        while True:
            opened, _ = self._listener.accept()
            self._opened.append(opened)
            threading.Thread(target=self._read, args=(opened,), daemon=True).start()

    def received(self) -> tuple[int, float]:
        """(bytes, when the last came); connections stay open here so that they can be asked after their end."""
        total, last_s = 0, 0.0
        for opened in list(self._opened):
            info = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
            count = struct.unpack_from("=Q", info, BYTES_RECEIVED)[0]
            if count:
                total += count
                ago_ms = struct.unpack_from("=I", info, LAST_DATA_RECEIVED)[0]
                last_s = max(last_s, time.monotonic() - ago_ms / 1000)
        return total, last_s

    def _read(self, opened: socket.socket) -> None:
        data = bytearray()
        with suppress(OSError):
            while piece := opened.recv(PIECE_BYTES):
                data += piece
                time.sleep(PAUSE_S)
                head, found, body = bytes(data).partition(b"\r\n\r\n")
                length = LENGTH.search(head)
                if found and length and len(body) >= int(length[1]):
                    opened.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    data.clear()


def main() -> None:
    slow = Slow()
    threading.Thread(target=slow.serve, daemon=True).start()
    print(slow.port, flush=True)
    for _ in sys.stdin:
        print(json.dumps(slow.received()), flush=True)


if __name__ == "__main__":
    main()
