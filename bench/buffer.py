"""What the agent's buffer writes for each committed row: ``python bench/buffer.py [--rows 200]``. Needs strace.

Rows with one box of 16 kB go through the product's own buffer on a real file system, while strace notes every write
and fsync of its process. *with acknowledgements*: a row is acknowledged ten rows after it was written, and an
acknowledged row stays until room is needed. *at the cap*: the buffer is as small as it may be and nobody acknowledges,
so that each row must evict others.

*log* is what every commit writes to the write-ahead log, times the size of the rows; *with checkpoints* counts also
what SQLite copies from the log into the database now and then.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.rig.measure import machine
from bench.rig.strace import BEGIN, END, mark, traced
from carnet.envelopetype import EnvelopeType
from carnet.keys import SigningKey
from carnet_agent.buffer import NewBox, Priority, open_buffer
from carnet_agent.settings import SIZE_BYTES_DEFAULT, SIZE_BYTES_LEAST

BOX_BYTES = 16_384 + 48
"""What Padmé allows, and what a sealed box adds."""
ACKNOWLEDGED_LATER = 10
DEVICE, KEY = b"d" * 16, SigningKey.from_seed(b"\x01" * 32)
CASES = {"acknowledged": SIZE_BYTES_DEFAULT, "cap": SIZE_BYTES_LEAST}


@dataclass(frozen=True, slots=True)
class Result:
    """Per committed row; ``log`` and ``with_checkpoints`` are multiples of the rows' size."""

    case: str
    rows: int
    row_bytes: int
    fsyncs: float
    fsyncs_with_checkpoints: float
    log: float
    with_checkpoints: float


def write(folder: Path, case: str, rows: int) -> None:
    """The child: fill a buffer until it is in its usual state, then write ``rows`` rows between two marks."""
    source = random.Random(1)
    buffer = open_buffer(folder / "buffer.db", DEVICE, KEY, source.randbytes, CASES[case]).buffer
    warm = 2 * SIZE_BYTES_LEAST // BOX_BYTES
    for number in range(warm + rows):
        if number == warm:
            mark(BEGIN)
        box = NewBox(b"k" * 8, source.randbytes(BOX_BYTES), source.randbytes(8), 10_000, b"s" * 16)
        seq = buffer.add(EnvelopeType.DATA, Priority.BACKGROUND, source.randbytes(8), [box])
        if case == "acknowledged" and seq > ACKNOWLEDGED_LATER:
            buffer.acknowledge(buffer.stream, [(seq - ACKNOWLEDGED_LATER, seq - ACKNOWLEDGED_LATER)])
    mark(END)
    print(len(buffer.to_send(Priority.BACKGROUND, (), 1)[0].envelope))


def measure(case: str, rows: int) -> Result:
    """Run the child under strace and add up."""
    with tempfile.TemporaryDirectory() as folder:
        found = traced([sys.executable, __file__, "--write", case, str(rows), folder], "buffer.db")
    row_bytes = int(found.output)
    payload = rows * row_bytes
    # SQLite syncs the log once before it copies it into the database, which it then syncs once
    checkpoints = found.synced["database"]
    return Result(
        case=case,
        rows=rows,
        row_bytes=row_bytes,
        fsyncs=round((found.synced["log"] - checkpoints) / rows, 3),
        fsyncs_with_checkpoints=round(found.synced.total() / rows, 3),
        log=round(found.written["log"] / payload, 2),
        with_checkpoints=round(found.written.total() / payload, 2),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="40 rows")
    parser.add_argument("--write", nargs=3, metavar=("CASE", "ROWS", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.write:
        case, rows, folder = options.write
        write(Path(folder), case, int(rows))
        return 0
    results = [measure(case, 40 if options.quick else options.rows) for case in CASES]
    print("case          rows   bytes  fsyncs/row  (all)    log  with checkpoints")
    for each in results:
        print(
            f"{each.case:12} {each.rows:5} {each.row_bytes:7} {each.fsyncs:11.3f} {each.fsyncs_with_checkpoints:6.3f}"
            f" {each.log:6.2f} {each.with_checkpoints:9.2f}"
        )
    print(json.dumps({"bench": "buffer", **machine(), "results": [asdict(each) for each in results]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
