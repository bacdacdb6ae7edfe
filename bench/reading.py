"""CPU time a frame takes from the socket to the caller: our reader beside a loop over python-can.

    python bench/reading.py            natively, over datagrams that carry the kernel's structures
    python bench/reading.py --guest    on a real vcan0 in user-mode-linux: only the ratio means something there

Both read the same frames out of a full queue; each round measures both, the ratio is the median of the rounds' ratios.
Then once more with all signals of the demonstration car's DBC decoded from what was read, drain by drain: by us, and by
cantools frame by frame. (The agent itself lets drains wait and decodes larger blocks.)
Drains of 40 and 100 frames are 20 and 50 ms at 2,000 frames/s, of 160 and 400 frames the same at 8,000.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import socket
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import can
import cantools
from can.interfaces.socketcan.socketcan import SocketcanBus, capture_message

from bench.rig.measure import machine
from carnet_agent.bus.socketcan import SO_RCVBUFFORCE, CanInterface, SocketReader, Source
from carnet_agent.dbc.compile import compile_plan
from carnet_agent.dbc.parse import load_dbc
from carnet_agent.decode import decode
from carnet_agent.instant import Instant
from tests.agent.candatagrams import DatagramSource, classic
from tests.system.guest import uml
from tests.system.guest.vcan import Peer

PAYLOAD_BYTES = 8
DRAINS = (40, 100, 160, 400)
FRAMES_PER_ROUND = 4000
ROUNDS = 7
QUEUE_BYTES = 64 << 20
DBC = Path(__file__).resolve().parents[1] / "dbc" / "carnet_demo.dbc"


class DatagramBus(can.BusABC):
    """python-can's SocketCAN bus with another socket under it: its receive loop, its select, its frame parser."""

    def __init__(self, opened: socket.socket) -> None:
        super().__init__(channel="")
        self._socket = opened

    def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:
        ready, _, _ = select.select([self._socket], [], [], timeout)
        return (capture_message(self._socket), True) if ready else (None, True)

    def send(self, msg: can.Message, timeout: float | None = None) -> None:
        raise NotImplementedError

    def shutdown(self) -> None:
        super().shutdown()
        self._socket.close()


def read_each(bus: can.BusABC, count: int) -> None:
    """What a program on python-can does: one call and one object a frame."""
    for _ in range(count):
        if bus.recv(1.0) is None:
            raise RuntimeError("python-can saw fewer frames than were sent")


def decode_each(bus: can.BusABC, count: int, database: Any) -> None:
    """The same, and what it does then."""
    for _ in range(count):
        message = bus.recv(1.0)
        if message is None:
            raise RuntimeError("python-can saw fewer frames than were sent")
        database.decode_message(message.arbitration_id, message.data, decode_choices=False)


def elapsed_s(read: Callable[[], object], clock: Callable[[], float]) -> float:
    """Time on ``clock`` that ``read`` takes, the kernel's part included."""
    started = clock()
    read()
    return clock() - started


def fill(interface: str | None, sources: Sequence[DatagramSource], frames: Sequence[bytes]) -> None:
    """Put the frames in the queues of both readers."""
    for source in sources:
        source.send(*frames)
    if interface is not None:
        node = Peer(interface)
        node.send(*frames)
        node.close()


def measure(interface: str | None, drain: int, *, decoding: bool) -> dict[str, float]:
    """Nanoseconds of CPU a frame, and how many times cheaper ours is, for drains of ``drain`` frames."""
    plan, _ = compile_plan([("can0", load_dbc(DBC))])
    database: Any = cantools.database.load_file(DBC)
    source: Source = CanInterface(interface, QUEUE_BYTES) if interface else DatagramSource(QUEUE_BYTES)
    reader = SocketReader(source, bus=0)
    reader.set_identifiers(None)
    reader.read(Instant.now())
    datagrams = [source, DatagramSource(QUEUE_BYTES)] if isinstance(source, DatagramSource) else []
    theirs: can.BusABC
    if interface:
        theirs = SocketcanBus(interface, fd=True)
        theirs.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, QUEUE_BYTES)
    else:
        theirs = DatagramBus(datagrams[1].open(()))
    # The guest counts CPU time in ticks of 10 ms; on its one CPU nothing else runs, so elapsed time says the same.
    clock = time.perf_counter if interface else time.process_time
    # 11-bit identifiers; and cantools refuses a frame whose multiplexer has no meaning
    plain = [each for each in database.messages if not (each.is_extended_frame or each.is_multiplexed())]
    known = [each.frame_id for each in plain if each.length <= PAYLOAD_BYTES]
    frames = [classic(known[n % len(known)], n.to_bytes(PAYLOAD_BYTES, "little")) for n in range(drain)]

    def read_ours() -> None:
        found = reader.read(Instant.now())
        if decoding:
            decode(plan, found)

    read_theirs = partial(decode_each, database=database) if decoding else read_each
    ours_ns: list[float] = []
    theirs_ns: list[float] = []
    for _ in range(ROUNDS):
        ours = other = 0.0
        for _ in range(FRAMES_PER_ROUND // drain):
            fill(interface, datagrams, frames)
            before = reader.counters.frames
            ours += elapsed_s(read_ours, clock)
            if reader.counters.frames - before != drain:
                raise RuntimeError("our reader saw fewer frames than were sent")
            other += elapsed_s(partial(read_theirs, theirs, drain), clock)
        count = FRAMES_PER_ROUND // drain * drain
        ours_ns.append(ours / count * 1e9)
        theirs_ns.append(other / count * 1e9)
    theirs.shutdown()
    reader.close()
    for each in datagrams:
        each.close()
    ratios = [slow / quick for slow, quick in zip(theirs_ns, ours_ns, strict=True)]
    medians = (statistics.median(ours_ns), statistics.median(theirs_ns), statistics.median(ratios))
    return dict(zip(("ours_ns", "python_can_ns", "ratio"), (round(each, 1) for each in medians), strict=True))


def in_guest() -> int:
    """The same command on vcan0 of a guest."""
    here = Path(__file__).resolve()
    outcome = uml.run([sys.executable, str(here), "--interface", "vcan0"], timeout_s=180, directory=here.parents[1])
    print(outcome.output, end="")
    return outcome.code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guest", action="store_true", help="measure on vcan in user-mode-linux")
    parser.add_argument("--interface", help="measure on this CAN interface, which must be idle")
    arguments = parser.parse_args()
    if arguments.guest:
        return in_guest()
    over = arguments.interface or "datagrams"
    print(f"{platform.platform()}, Python {platform.python_version()}, python-can {can.__version__}, over {over}")
    results = {
        what: {drain: measure(arguments.interface, drain, decoding=what == "decoded") for drain in DRAINS}
        for what in ("read", "decoded")
    }
    for what, drains in results.items():
        for drain, each in drains.items():
            print(
                f"drains of {drain:3} frames, {what:7}: ours {each['ours_ns']:8,.0f} ns a frame, "
                f"python-can {each['python_can_ns']:8,.0f} ns, {each['ratio']:.1f} times cheaper"
            )
    rows = [
        {"what": what, "frames": drain, **each} for what, drains in results.items() for drain, each in drains.items()
    ]
    tools = {"python_can": can.__version__, "cantools": cantools.__version__}
    print(
        json.dumps({"bench": "reading", **machine(), **tools, "load": os.getloadavg()[0], "over": over, "rows": rows})
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
