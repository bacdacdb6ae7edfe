"""``carnet-agent decode``: the readings in a capture, as a table."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from carnet.errors import CaptureError, ConfigError
from carnet_agent.captures.capture import Block, Capture
from carnet_agent.commands.saying import Voice
from carnet_agent.commands.wholefile import whole_file
from carnet_agent.dbc.compile import compile_plan
from carnet_agent.dbc.database import Database
from carnet_agent.dbc.parse import load_dbc
from carnet_agent.dbc.plan import MATCHES, Plan
from carnet_agent.decode import NO_FRAMES, decode, refused
from carnet_agent.decoded import Decoded
from carnet_agent.export import FORMATS, WRITERS, Writer, table
from carnet_agent.isotp import Reassembler

EXAMPLE = """example:
  carnet-agent decode drive.log.gz --dbc can0=powertrain.dbc can1=radar.dbc --out drive.csv
"""
PROGRESS_SECONDS = 0.2
VOICE = Voice("decode")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "decode",
        help="write the readings of a capture as a table",
        description="Decode a capture (candump .log, .asc, .blf, .trc, .mf4, .csv; also .gz) with DBC files and write "
        "one row per reading, in capture order.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("capture", type=Path, metavar="CAPTURE", help="the capture file")
    parser.add_argument(
        "--dbc",
        action="extend",
        nargs="+",
        required=True,
        metavar="[BUS=]FILE",
        help="a DBC file, for one bus of the capture or for all; CAPTURE stands before it",
    )
    parser.add_argument(
        "--match",
        choices=MATCHES,
        default="id",
        help="find messages by identifier (default), by J1939 parameter group, or reassemble ISO-TP first",
    )
    parser.add_argument("--format", choices=FORMATS, default="csv", help="default: csv")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write here instead of to standard output")
    parser.add_argument("--force", action="store_true", help="write over what --out names")
    parser.add_argument(
        "--partial",
        action="store_true",
        help="also write what can be read of frames that cantools refuses as a whole: a multiplexer value that the "
        "DBC does not know, or signals that overlap",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Decode; returns the exit code. Raises carnet.errors.Error."""
    if arguments.out is not None and arguments.out.is_file() and not arguments.force:
        raise ConfigError("out_exists", f"{arguments.out} exists: name a new file, or write over it with --force")
    databases = [_database(text) for text in arguments.dbc]
    plan, losses = compile_plan(databases, match=arguments.match)
    for _, database in databases:
        VOICE.name_all([f"{database.name}.dbc: {loss}" for loss in database.losses])
    VOICE.name_all([str(loss) for loss in losses])
    counts = Counter[str]()
    with Capture(arguments.capture, plan.buses) as capture, _output(arguments.out) as stream:
        _write(plan, capture, counts, WRITERS[arguments.format](plan, stream), arguments.partial)
        if not capture.counts["frames"]:
            VOICE.name_all([str(loss) for loss in capture.losses], sum(capture.counts.values()))
            raise CaptureError("capture_refused", f"{arguments.capture.name}: there is no frame in it: another format?")
        _summary(capture, plan, counts, arguments.partial)
        if not counts["readings"]:
            raise CaptureError("capture_unmatched", f"{arguments.capture.name}: {_why_nothing(plan, counts)}")
    return 0


def _write(plan: Plan, capture: Capture, counts: Counter[str], writer: Writer, partial: bool) -> None:
    """Decode the whole capture into the writer."""
    for block, decoded in _progress(capture, _decoded(plan, capture, counts), counts):
        unknown, overlapping = refused(plan, block.frames)
        left_out = NO_FRAMES if partial else np.union1d(unknown, overlapping)
        rows = table(plan, block, capture.buses, decoded, left_out)
        counts["readings"] += len(rows.frame)
        counts["unknown_selector"] += len(unknown)
        counts["overlapping"] += len(overlapping)
        writer.write(rows)
    writer.close()


def _database(text: str) -> tuple[str, Database]:
    """(bus, database) of a ``[BUS=]FILE`` argument; a bus that is only a number N is ``canN``."""
    bus, equals, name = text.partition("=")
    if not equals or Path(text).is_file():
        bus, name = "", text
    path = Path(name)
    if not path.is_file():
        raise ConfigError("dbc_missing", f"there is no DBC file {name}")
    return f"can{bus}" if bus.isdigit() else bus, load_dbc(path)


def _decoded(plan: Plan, capture: Capture, counts: Counter[str]) -> Iterator[tuple[Block, Decoded]]:
    """Blocks with what is in them; with ISO-TP, blocks in which messages stand whole."""
    reassembler = Reassembler(plan) if plan.match == "isotp" else None
    for block in capture.blocks():
        if reassembler:
            frames, kept = reassembler.feed(block.frames)
            whole = Block(frames, block.digits[kept])
        else:
            whole = block
        yield whole, decode(plan, whole.frames)
    if reassembler:
        reassembler.finish()
        counts.update({f"isotp_{reason}": count for reason, count in reassembler.counts.items() if count})


def _progress(
    capture: Capture, blocks: Iterator[tuple[Block, Decoded]], counts: Counter[str]
) -> Iterator[tuple[Block, Decoded]]:
    """Pass the blocks through; on a terminal say how far we are."""
    terminal = sys.stderr.isatty()
    next_time = time.monotonic()
    for item in blocks:
        yield item
        if terminal and time.monotonic() >= next_time:
            next_time = time.monotonic() + PROGRESS_SECONDS
            share = capture.position_bytes() / max(1, capture.size_bytes)
            print(f"\r{share:4.0%} {counts['readings']:,} readings", end="", file=sys.stderr, flush=True)
    if terminal:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _output(path: Path | None) -> Iterator[IO[bytes]]:
    """Standard output, or a file."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with whole_file(path) as stream:
        yield stream


def _why_nothing(plan: Plan, counts: Counter[str]) -> str:
    """Why a capture with frames gave no reading: a table of nothing would look like a drive without readings."""
    if counts["unknown_selector"] or counts["overlapping"]:
        return "no frame of it can be decoded as a whole; --partial writes what can be read"
    hint = "; of J1939 by --match pgn" if plan.match == "id" else ""
    return f"no frame is of a message that the DBC has: look at buses and identifiers{hint}"


def _summary(capture: Capture, plan: Plan, counts: Counter[str], partial: bool) -> None:
    """What was read and what was not, on standard error."""
    VOICE.name_all([str(loss) for loss in capture.losses], sum(capture.counts.values()) - capture.counts["frames"])
    for bus in plan.buses:
        if bus not in capture.buses_seen:
            seen = ", ".join(capture.buses_seen) or "no frames"
            VOICE.say(f"bus {bus} does not occur in the capture, which has {seen}")
    for reason, sentence in (
        ("unknown_selector", "have a multiplexer value that the DBC does not know"),
        ("overlapping", "have signals that overlap by definition"),
    ):
        if counts[reason]:
            VOICE.say(
                f"{counts[reason]:,} frames {sentence}; {'written in part' if partial else '--partial writes them too'}"
            )
    others = {name: count for name, count in (capture.counts + counts).items() if name not in ("frames", "readings")}
    details = "".join(f", {name.replace('_', ' ')} {count:,}" for name, count in sorted(others.items()))
    VOICE.say(f"{capture.counts['frames']:,} frames, {counts['readings']:,} readings{details}")
