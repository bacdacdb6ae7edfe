"""What the cases inside the guest share: a peer that sends on vcan0, and waiting for frames with a limit."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from carnet_agent.bus.canframe import FD_SIZE_BYTES
from carnet_agent.bus.reader import BusReader
from carnet_agent.bus.socketcan import CAN_RAW_ERR_FILTER, ERROR_CLASSES, SO_RCVBUFFORCE
from carnet_agent.frames import Frames
from carnet_agent.instant import Instant

INTERFACE = "vcan0"
WAIT_S = 10.0
SO_SNDBUFFORCE = 32


class Peer:
    """Another node on the bus; takes frames as the kernel's structures and returns once every reader has them
    queued.
    """

    def __init__(self, interface: str = INTERFACE) -> None:
        self._sender = self._raw(interface, wants=b"")
        # The kernel may deliver a frame after the call that sent it; what the witness has, all others have.
        self._witness = self._raw(interface, wants=struct.pack("=II", 0, 0))
        self._witness.setsockopt(socket.SOL_CAN_RAW, CAN_RAW_ERR_FILTER, ERROR_CLASSES)
        self._witness.settimeout(WAIT_S)

    def send(self, *frames: bytes) -> None:
        for frame in frames:
            self._sender.send(frame)
        for _ in frames:
            self._witness.recv(FD_SIZE_BYTES)

    def close(self) -> None:
        self._sender.close()
        self._witness.close()

    @staticmethod
    def _raw(interface: str, wants: bytes) -> socket.socket:
        opened = socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW)
        opened.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FD_FRAMES, 1)
        opened.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FILTER, wants)
        opened.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 64 << 20)
        opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        opened.bind((interface,))
        return opened


def ip(*words: str) -> None:
    """``ip`` of iproute2; raises if it fails."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


def transmitted(interface: str = INTERFACE) -> int:
    """Frames that anybody has sent on this interface."""
    return int(Path(f"/sys/class/net/{interface}/statistics/tx_packets").read_text())


def wait_until(true: Callable[[], bool]) -> None:
    """Ask until the answer is yes; AssertionError after WAIT_S."""
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def drain(reader: BusReader, count: int) -> Frames:
    """Read until ``count`` frames have come; AssertionError after WAIT_S."""
    blocks: list[Frames] = []

    def enough() -> bool:
        blocks.append(reader.read(Instant.now()))
        return sum(map(len, blocks)) >= count

    wait_until(enough)
    return Frames.concat([block for block in blocks if len(block)])
