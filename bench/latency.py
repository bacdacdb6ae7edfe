"""From a frame to a committed row: ``python bench/latency.py [--events 300]``.

The product's own ``carnet-agent run`` as in bench/agent.py (48 signals at 1 Hz in three grants, drains of 50 ms,
buffer on disk, broker and receiver), and one granted trigger: a signal of class *event* that is sent when it changes.
2,000 other frames a second come meanwhile. A frame that changes the signal is sent at a random moment; the time until
the transaction that holds its envelope has been committed is measured, both on CLOCK_MONOTONIC. Sending is counted
before the system call, the commit after SQLite's has returned.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import cantools
from cantools.database.can import Database

from bench.receiver import broker
from bench.rig.line import EVENT_MESSAGE, RECIPIENTS
from bench.rig.measure import machine, percentile
from bench.rig.programs import Program, Programs
from bench.rig.unit import DATABASE, HOST, free_udp_port, make_unit, run_agent, status
from carnet_agent.buffer import Buffer, NewEnvelope, Priority

RATE = 2000
PAUSE_S = (0.12, 0.25)
"""Between two events; more than a drain, so that no two share one."""
SETTLE_S = 2


def agent(folder: Path, port: int) -> int:
    """The agent, which also writes a line after each commit with an event in it: the time in nanoseconds."""
    add_all = Buffer.add_all

    def timed(buffer: Buffer, envelopes: Sequence[NewEnvelope], **options: Any) -> list[int]:
        found = add_all(buffer, envelopes, **options)
        if any(one.priority is Priority.EVENT for one in envelopes):
            os.write(sys.stdout.fileno(), b"%d\n" % time.monotonic_ns())
        return found

    with patch.object(Buffer, "add_all", timed):
        return run_agent(folder, port)


def frames() -> tuple[bytes, bytes]:
    """The trigger's message with the signal off and on."""
    database = cast("Database", cantools.database.load_file(DATABASE))
    message = database.get_message_by_name(EVENT_MESSAGE)
    zeros = dict.fromkeys((signal.name for signal in message.signals), 0)
    identifier = message.frame_id | (0x8000_0000 if message.is_extended_frame else 0)
    head = identifier.to_bytes(4, sys.byteorder) + bytes((message.length, 0, 0, 0))
    off, on = (message.encode({**zeros, "ServiceDue": value}, strict=False) for value in (0, 1))
    return head + off.ljust(8, b"\0"), head + on.ljust(8, b"\0")


def measure(folder: Path, events: int) -> list[float]:
    """Milliseconds of each event."""
    port, programs = free_udp_port(), Programs(folder)
    mosquitto, broker_port = broker(folder)
    try:
        make_unit(folder, broker_port)
        line = ("-m", "bench.rig.line")
        programs.start_ready("cloud", *line, "cloud", str(folder), str(broker_port), "event")
        unit = programs.start("agent", __file__, "--agent", str(folder), str(port))
        programs.until(lambda: len(status(folder).get("in_force", ())) == len(RECIPIENTS), "agent")
        length_s = str(int(events * PAUSE_S[1]) + 2 * SETTLE_S + 5)
        car = programs.start_ready("car", *line, "car", str(RATE), length_s, EVENT_MESSAGE, str(port))
        programs.tell(car)
        time.sleep(SETTLE_S)
        return _events(unit, port, events)
    finally:
        programs.close()
        mosquitto.terminate()
        mosquitto.wait()


def _events(unit: Program, port: int, events: int) -> list[float]:
    assert unit.stdout is not None
    chance, trigger, found = random.Random(1), frames(), []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect((HOST, port))
        for number in range(events + 1):
            time.sleep(chance.uniform(*PAUSE_S))
            sent_ns = time.monotonic_ns()
            out.send(trigger[number % 2])
            found.append((int(unit.stdout.readline()) - sent_ns) / 1e6)
    return found[1:]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=300)
    parser.add_argument("--agent", nargs=2, metavar=("FOLDER", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.agent:
        return agent(Path(options.agent[0]), int(options.agent[1]))
    with tempfile.TemporaryDirectory() as name:
        found = measure(Path(name), options.events)
    shares = {"p50": statistics.median(found), "p99": percentile(found, 0.99), "max": max(found)}
    print("frame to committed row, ms:  " + "  ".join(f"{name} {value:.1f}" for name, value in shares.items()))
    rounded = {f"{name}_ms": round(value, 1) for name, value in shares.items()}
    print(json.dumps({"bench": "latency", **machine(), "events": len(found), **rounded}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
