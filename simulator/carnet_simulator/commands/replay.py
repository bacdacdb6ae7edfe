"""``carnet-sim replay``: a capture on virtual buses, at its own speed or faster."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, Final

from carnet.errors import CaptureError
from carnet_simulator.bus import Sender, open_sender, parse_channels
from carnet_simulator.commands.speed import CHANNEL_HELP, parse_speed
from carnet_simulator.pace import Pace
from carnet_simulator.progress import Progress
from carnet_simulator.replay import read_capture

BUSES_MAX: Final = 64
"""More buses than any capture has; a file that names more is broken."""
EXAMPLES: Final = """examples:
  carnet-sim replay drive.log.gz --speed 10
  carnet-sim replay drive.MF4 --channel can1=vcan0 --loop
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "replay",
        help="put a capture on virtual CAN buses",
        description="Sends the data frames of a capture (any format python-can reads, .gz too) in their order, with the "
        "gaps that they had. Ctrl-C ends it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("capture", type=Path, help="the file")
    parser.add_argument("--speed", type=parse_speed, default=1.0, metavar="FACTOR", help="1, 10, … or max (default: 1)")
    parser.add_argument("--channel", action="append", default=[], metavar="[BUS=]CHANNEL", help=CHANNEL_HELP)
    parser.add_argument("--loop", action="store_true", help="begin again at the end")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Replay until the file's end or somebody interrupts."""
    channels = parse_channels(arguments.channel)
    progress = Progress(sys.stderr)
    pace = Pace(arguments.speed, time.monotonic_ns, time.sleep)
    senders: dict[str, Sender] = {}
    passed_ns, ended = 0, "done"
    try:
        while True:
            passed_ns = _once(arguments.capture, channels, senders, pace, progress, passed_ns)
            if not arguments.loop:
                break
    except KeyboardInterrupt:
        ended = "stopped"
    finally:
        for sender in senders.values():
            sender.close()
    progress.end(ended)
    return 0


def _once(
    path: Path, channels: dict[str, str], senders: dict[str, Sender], pace: Pace, progress: Progress, passed_ns: int
) -> int:
    """Replay the file, beginning ``passed_ns`` after the first replay's first frame; returns when it ended."""
    first_ns: int | None = None
    time_ns = passed_ns
    for captured in read_capture(path):
        if captured.frame is None:
            progress.skipped += 1
            continue
        if first_ns is None:
            first_ns = captured.time_ns
        if captured.bus not in senders:
            if len(senders) >= BUSES_MAX:
                raise CaptureError("capture_broken", f"{path}: names more than {BUSES_MAX} buses")
            senders[captured.bus] = open_sender(captured.bus, channels, lambda text: print(text, file=sys.stderr))
        # A clock that jumped back in the file must not make us wait for it twice.
        time_ns = max(time_ns, passed_ns + captured.time_ns - first_ns)
        pace.wait(time_ns)
        senders[captured.bus].send(captured.frame)
        progress.frames += 1
        progress.at(time_ns / 1e9)
    if first_ns is None:
        raise CaptureError("capture_broken", f"{path}: has no data frame")
    return time_ns
