"""What a full buffer costs the agent beside a new one: ``python bench/full.py [--mb 256] [--row-bytes 900]``.

A unit's buffer is full for most of its life, because what was acknowledged stays until room is needed. On a real file
system: CPU time to commit a row into a new buffer, into one that is full of acknowledged rows, and into one that is
full of rows that wait, each row beyond the first sixteen then with its share of making room; the longest of them. Then
a start on the full file, looked through but for its rows and whole; and the end of a consent that a quarter of all
boxes was sealed for: all of it, and the longest time for which the agent does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.rig.measure import machine, percentile
from carnet.box import Place, Prelude, seal_box
from carnet.envelopetype import EnvelopeType
from carnet.keys import BoxKey, SigningKey
from carnet.note import DestructionReason
from carnet_agent.buffer import Buffer, NewBox, NewEnvelope, Priority, doubt, open_buffer
from carnet_agent.buffer.tables import PAGE_BYTES

DEVICE, KEY, CLOUD = b"d" * 16, SigningKey.from_seed(b"\x01" * 32), BoxKey.from_seed(b"\x02" * 32)
CUT = b"c" * 8
PRELUDE = Prelude(1, 1, b"b" * 8, 5, schema_hash=b"s" * 16, records=(b"r" * 10,))
HANDLES = [bytes([number]) * 8 for number in range(4)]
BATCH, MEASURED = 400, 400
SPARE_PAGES = 8
"""Left free by `fill`: the rows of the measurement begin with an eviction at once."""


@dataclass(frozen=True, slots=True)
class Row:
    """CPU time of a committed row on average, and the longest that one took."""

    cpu_ms: float
    longest_ms: float


@dataclass(frozen=True, slots=True)
class End:
    """Boxes that went, and the calls in which they did."""

    boxes: int
    cpu_s: float
    calls: int
    p50_ms: float
    longest_ms: float


@dataclass(frozen=True, slots=True)
class Result:
    """``rows``: so many fill the buffer."""

    mb: int
    row_bytes: int
    rows: int
    new: Row
    full: Row
    waiting: Row
    start_ms: float
    start_in_doubt_ms: float
    end: End


@contextmanager
def opened(path: Path, size_bytes: int) -> Iterator[Buffer]:
    buffer = open_buffer(path, DEVICE, KEY, os.urandom, size_bytes).buffer
    try:
        yield buffer
    finally:
        buffer._db.close()


def sealed(size_bytes: int) -> list[NewEnvelope]:
    """One envelope for each set of records; which bytes are in the box is all the same."""
    place = Place(EnvelopeType.DATA, 0, DEVICE, b"t" * 8, CUT, KEY.kid, CLOUD.kid)
    box = seal_box(PRELUDE, random.Random(1).randbytes(size_bytes), CLOUD.public, place, b"e" * 32)
    boxes = [NewBox(CLOUD.kid, box, handle, 100, b"s" * 16) for handle in HANDLES]
    return [NewEnvelope(EnvelopeType.DATA, Priority.BACKGROUND, CUT, (each,)) for each in boxes]


def fill(buffer: Buffer, envelopes: Sequence[NewEnvelope], size_bytes: int, *, acknowledged: bool) -> int:
    """Rows until the cap is near; how many."""
    while buffer.counts()["rows_evicted"] == 0:
        pages = buffer._db.execute("pragma page_count").fetchone()[0]
        left = size_bytes // PAGE_BYTES - pages
        if left < SPARE_PAGES:
            break
        seqs = buffer.add_all([envelopes[n % len(envelopes)] for n in range(min(BATCH, left))])
        if acknowledged:
            buffer.acknowledge(buffer.stream, [(seqs[0], seqs[-1])])
    buffer.write_acknowledged()
    return buffer.last_seq


def append(buffer: Buffer, envelopes: Sequence[NewEnvelope], *, acknowledged: bool) -> Row:
    """Rows one after the other; acknowledged at once, or never."""
    walls = []
    begun = time.process_time()
    for number in range(MEASURED):
        started = time.perf_counter()
        (seq,) = buffer.add_all([envelopes[number % len(envelopes)]])
        walls.append((time.perf_counter() - started) * 1e3)
        if acknowledged:
            buffer.acknowledge(buffer.stream, [(seq, seq)])
    return Row((time.process_time() - begun) * 1e3 / MEASURED, max(walls))


def start_cpu_ms(path: Path, size_bytes: int) -> float:
    begun = time.process_time()
    with opened(path, size_bytes):
        return (time.process_time() - begun) * 1e3


def end_of_consent(buffer: Buffer) -> End:
    """Boxes of one handle go; what the agent does between two of its other duties is one call."""
    pauses, boxes, begun = [], 0, time.process_time()
    while buffer.names(HANDLES[:1]):
        started = time.perf_counter()
        boxes += buffer.destroy(HANDLES[:1], 2, DestructionReason.ENDED)
        pauses.append((time.perf_counter() - started) * 1e3)
    return End(boxes, time.process_time() - begun, len(pauses), percentile(pauses, 0.5), max(pauses))


def measure(folder: Path, size_bytes: int, row_bytes: int) -> Result:
    """All of it, in the order of the text above."""
    envelopes = sealed(row_bytes)
    path = folder / "new.db"
    with opened(path, size_bytes) as buffer:
        new = append(buffer, envelopes, acknowledged=True)
    path = folder / "waiting.db"
    with opened(path, size_bytes) as buffer:
        fill(buffer, envelopes, size_bytes, acknowledged=False)
        waiting = append(buffer, envelopes, acknowledged=False)
    path.unlink()
    path = folder / "full.db"
    with opened(path, size_bytes) as buffer:
        rows = fill(buffer, envelopes, size_bytes, acknowledged=True)
        full = append(buffer, envelopes, acknowledged=True)
    start_ms = start_cpu_ms(path, size_bytes)
    doubt(path)
    in_doubt_ms = start_cpu_ms(path, size_bytes)
    with opened(path, size_bytes) as buffer:
        end = end_of_consent(buffer)
    return Result(size_bytes >> 20, row_bytes, rows, new, full, waiting, start_ms, in_doubt_ms, end)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=256, help="size of the buffer (%(default)s, the product's own)")
    parser.add_argument("--row-bytes", type=int, default=900, help="in the box of a row (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="24 MB")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), (24 if options.quick else options.mb) << 20, options.row_bytes)
    print(f"{found.mb} MB, {found.rows} rows of {found.row_bytes} bytes and what belongs to them")
    for name, row in (("new", found.new), ("full", found.full), ("full of what waits", found.waiting)):
        print(f"a row into a buffer that is {name:18}: {row.cpu_ms:.3f} ms CPU, longest {row.longest_ms:.1f} ms")
    print(f"start: {found.start_ms:.1f} ms CPU, in doubt {found.start_in_doubt_ms:.1f} ms")
    end = found.end
    print(f"end of a consent: {end.boxes} boxes, {end.cpu_s:.2f} s CPU in {end.calls} calls,", end=" ")
    print(f"one of {end.p50_ms:.0f} ms, the longest of {end.longest_ms:.0f} ms")
    print(json.dumps({"bench": "full", **machine(), **asdict(found)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
