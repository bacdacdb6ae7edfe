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
        description="Sends the data frames of a capture (candump .log, .asc, .blf, .trc, .mf4, .csv; also .gz) in "
        "their order, with the gaps that they had. Ctrl-C ends it.",
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
        replay.open_named()
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

    def open_named(self) -> None:
        """Open what the command line names, before anything is read: a mistake in it is told at once."""
        for bus in self.channels:
            self._sender(bus)

    def once(self) -> None:
        """Replay the whole file, from the time on at which the replay before it ended."""
        began_ns = self.time_ns
        first_ns: int | None = None
        for captured in read_capture(self.path, _say):
            if first_ns is None:
                first_ns = captured.time_ns
            self.time_ns = max(self.time_ns, began_ns + captured.time_ns - first_ns)
            sender = self._sender(captured.bus)
            self.pace.wait(self.time_ns)
            sender.send(captured.frame)
            self.progress.sent(is_off=sender.is_off)
            self.progress.at(self.time_ns / 1e9)
        self._check_sent()

    def _check_sent(self) -> None:
        """Who names a bus wants its frames: if the capture has none of any of them, that is no success."""
        named = [bus for bus in self.channels if not self.senders[bus].is_off]
        if named and not self.progress.frames:
            others = [bus for bus in self.senders if bus not in named]
            raise CaptureError(
                "bus_unknown",
                f"{self.path}: nothing was sent; --channel names {' and '.join(named)}, and the capture has "
                f"{' and '.join(others)}: write --channel {others[0]}={self.channels[named[0]]}",
            )

    def _sender(self, bus: str) -> Sender:
        if bus not in self.senders:
            if len(self.senders) >= BUSES_MAX:
                raise CaptureError("capture_refused", f"{self.path}: names more than {BUSES_MAX} buses")
            with uninterrupted():
                self.senders[bus] = open_sender(bus, self.channels, _say)
        return self.senders[bus]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
