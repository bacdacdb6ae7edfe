"""``carnet-sim drive``: the simulated car on its buses, at its own speed or faster."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import fields
from typing import Any, Final

from carnet.errors import ConfigError
from carnet_simulator.bus import Sender, open_sender, parse_channels
from carnet_simulator.commands.interrupt import uninterrupted
from carnet_simulator.commands.speed import CHANNEL_HELP, parse_speed
from carnet_simulator.dbcs import demo_databases
from carnet_simulator.faults import Faults
from carnet_simulator.frames import drive
from carnet_simulator.pace import Pace
from carnet_simulator.progress import Progress
from carnet_simulator.wire import CLASSIC_BYTES, pack_block

AHEAD_MS: Final = 200
"""Frames are made in blocks of this length; longer blocks cost less, shorter ones begin sooner."""
FAULT_HELP: Final = "a fault and its probability per frame: " + ", ".join(field.name for field in fields(Faults))
EXAMPLES: Final = """examples:
  carnet-sim drive --seed 1 --seconds 60
  carnet-sim drive --speed 10 --channel can0=vcan0 --channel can1=off
  carnet-sim drive --rate 2000 --fault drop=0.01 --fault corrupt=0.001
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "drive",
        help="put a simulated car on virtual CAN buses",
        description="A plug-in hybrid on a test track: can0 is its drive train, can1 its body. The same seed gives the "
        "same frames. Ctrl-C ends it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=1, help="which car and which drive (default: 1)")
    parser.add_argument("--seconds", type=float, help="end after this much of the car's time (default: never)")
    parser.add_argument("--speed", type=parse_speed, default=1.0, metavar="FACTOR", help="1, 10, … or max (default: 1)")
    parser.add_argument("--rate", type=float, help="frames per second of all buses (default: about 500)")
    parser.add_argument("--channel", action="append", default=[], metavar="[BUS=]CHANNEL", help=CHANNEL_HELP)
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=P", help=FAULT_HELP)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Drive until the time is over or somebody interrupts."""
    for name in ("seconds", "rate"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < 1e9:
            raise ConfigError(f"{name}_wrong", f"--{name} must be a number above 0")
    channels, faults = parse_channels(arguments.channel), Faults.parse(arguments.fault)
    real_ms = time.time_ns() // 1_000_000
    source = drive(demo_databases(), arguments.seed, rate=arguments.rate, faults=faults, start_unix_ms=real_ms)
    unknown = sorted(set(channels) - set(source.buses))
    if unknown:
        raise ConfigError("channel_unknown", f"the car has no bus '{unknown[0]}'; it has {' and '.join(source.buses)}")
    progress = Progress(sys.stderr)
    pace = Pace(arguments.speed, time.monotonic_ns, time.sleep)
    end_ms = round(arguments.seconds * 1000) if arguments.seconds else sys.maxsize // 1_000_000
    senders: list[Sender] = []
    ended = "done"
    try:
        for bus in source.buses:
            with uninterrupted():
                senders.append(open_sender(bus, channels, lambda text: print(text, file=sys.stderr)))
        for until_ms in range(AHEAD_MS, end_ms + AHEAD_MS, AHEAD_MS):
            block = source.frames_until(min(until_ms, end_ms))
            packed = pack_block(block)
            for row, (number, time_ns) in enumerate(zip(block.bus.tolist(), block.time_ns.tolist(), strict=True)):
                pace.wait(time_ns)
                senders[number].send(packed[row * CLASSIC_BYTES : (row + 1) * CLASSIC_BYTES])
                progress.sent(is_off=senders[number].is_off)
            progress.at(min(until_ms, end_ms) / 1000)
    except KeyboardInterrupt:
        ended = "stopped"
    finally:
        for sender in senders:
            sender.close()
    progress.end(ended)
    return 0
