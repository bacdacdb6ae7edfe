"""``carnet-sim replay``: a capture on virtual buses, at its own speed or faster."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from carnet.errors import CaptureError
from carnet_simulator.bus import Sender, open_sender, parse_channels
from carnet_simulator.commands.interrupt import uninterrupted
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
        description="Sends the data frames of a capture (any format python-can reads, .gz too) in their order, with "
        "the gaps that they had. Ctrl-C ends it.",
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
    progress = Progress(sys.stderr)
    pace = Pace(arguments.speed, time.monotonic_ns, time.sleep)
    replay = _Replay(arguments.capture, parse_channels(arguments.channel), pace, progress)
    ended = "done"
    try:
        replay.once()
        while arguments.loop:
            replay.once()
    except KeyboardInterrupt:
        ended = "stopped"
    finally:
        for sender in replay.senders.values():
            sender.close()
    progress.end(ended)
    return 0


@dataclass(slots=True)
class _Replay:
    """A capture and the buses that it has needed so far."""

    path: Path
    channels: Mapping[str, str]
    pace: Pace
    progress: Progress
    senders: dict[str, Sender] = field(default_factory=dict)
    time_ns: int = 0
    """Time of the last frame, counted from the very first; it never goes back."""

    def once(self) -> None:
        """Replay the whole file, from the time on at which the replay before it ended."""
        began_ns = self.time_ns
        first_ns: int | None = None
        for captured in read_capture(self.path):
            if captured.frame is None:
                self.progress.skipped += 1
                continue
            if first_ns is None:
                first_ns = captured.time_ns
            self.time_ns = max(self.time_ns, began_ns + captured.time_ns - first_ns)
            sender = self._sender(captured.bus)
            self.pace.wait(self.time_ns)
            sender.send(captured.frame)
            self.progress.frames += 1
            self.progress.at(self.time_ns / 1e9)
        if first_ns is None:
            raise CaptureError("capture_broken", f"{self.path}: has no data frame")

    def _sender(self, bus: str) -> Sender:
        if bus not in self.senders:
            if len(self.senders) >= BUSES_MAX:
                raise CaptureError("capture_broken", f"{self.path}: names more than {BUSES_MAX} buses")
            with uninterrupted():
                self.senders[bus] = open_sender(bus, self.channels, lambda text: print(text, file=sys.stderr))
        return self.senders[bus]
