"""``carnet-agent frames``: the frames of a capture, in whichever format, as a candump log."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from carnet.errors import CaptureError
from carnet_agent.captures.candump import DIGITS_MAX
from carnet_agent.captures.capture import Block, Capture
from carnet_agent.commands.saying import Voice
from carnet_agent.frames import BRS, ESI, EXTENDED, FD

EXAMPLE = """example:
  carnet-agent frames drive.mf4 > drive.log
"""
VOICE: Final = Voice("frames")
UNNAMED: Final = "can0"
"""The bus of a file that names none."""
SECOND_NS: Final = 1_000_000_000


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "frames",
        help="write the frames of a capture as a candump log",
        description="Write the data frames of a capture (candump .log, .asc, .blf, .trc, .mf4, .csv; also .gz) as the "
        "lines of candump -L, in capture order. What is not used is named on standard error.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("capture", type=Path, metavar="CAPTURE", help="the capture file")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the lines; returns the exit code. Raises carnet.errors.Error."""
    with Capture(arguments.capture) as capture:
        for block in capture.blocks():
            sys.stdout.write("".join(lines(block, capture.buses)))
            sys.stdout.flush()
    left_out = {reason: count for reason, count in sorted(capture.counts.items()) if reason != "frames"}
    VOICE.name_all([str(loss) for loss in capture.losses], sum(left_out.values()))
    if not capture.counts["frames"]:
        raise CaptureError("capture_refused", f"{arguments.capture.name}: there is no frame in it: another format?")
    if left_out:
        counted = ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in left_out.items())
        VOICE.say(f"left out: {counted}")
    return 0


def lines(block: Block, buses: list[str]) -> Iterator[str]:
    """A line of candump for each frame, its time with the digits that the file has."""
    frames = block.frames
    columns = (frames.bus, frames.can_id, frames.flags, frames.length, frames.time_ns, block.digits)
    for row, (bus, can_id, flags, length, time_ns, digits) in enumerate(
        zip(*(c.tolist() for c in columns), strict=True)
    ):
        identifier = f"{can_id:08X}" if flags & EXTENDED else f"{can_id:03X}"
        mark = f"##{(1 if flags & BRS else 0) | (2 if flags & ESI else 0):X}" if flags & FD else "#"
        data = frames.payload[row, :length].tobytes().hex().upper()
        yield f"({_stamp(time_ns, digits)}) {buses[bus] or UNNAMED} {identifier}{mark}{data}\n"


def _stamp(time_ns: int, digits: int) -> str:
    sign, time_ns = ("-", -time_ns) if time_ns < 0 else ("", time_ns)
    seconds, rest = divmod(time_ns, SECOND_NS)
    return f"{sign}{seconds}.{f'{rest:0{DIGITS_MAX}d}'[: max(1, digits)]}"
