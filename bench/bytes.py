"""Bytes and CPU time per sample: ``python bench/bytes.py``.

Three real cars, 48 signals each (the hardest: those with the most different values; checksums and counters are left
out), thinned to 1 Hz as the agent does it. *Codec alone* is one box of all 48 in windows of 60 s and 10 s, and at full
rate, beside the same readings as JSON of columns and JSON of rows, both gzip 6. *Product defaults* is everything a
window of 60 s costs on the connection (TLS and TCP apart): five categories in five boxes for three overlapping grants,
sealed, padded, signed, published with QoS 1, and acknowledged. *Inside the bodies* shows the sections of these boxes
before zstd, and beside them what a coder would need that knew the mean of every run and wasted nothing (the entropy of
a geometric distribution, in the best of the four modes): of all runs, and of the times among them.

A sample is one value with its time; all figures are per sample of a window, averaged over the capture.
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from carnet import codec, levels, predict, rice, varint
from carnet.ack import Ack
from carnet.batch import Batch
from carnet.box import Place, Prelude, seal_box
from carnet.compression import compress
from carnet.down import sign_ack
from carnet.envelope import Header, parse_envelope, sign_envelope
from carnet.envelopetype import EnvelopeType
from carnet.keys import BoxKey, SigningKey
from carnet.schema import Column, Schema
from carnet.topics import topic_down, topic_up
from carnet.transforms import Transform
from carnet_agent.captures.capture import Capture
from carnet_agent.dbc.compile import compile_plan
from carnet_agent.dbc.parse import load_dbc
from carnet_agent.dbc.plan import SignalInfo
from carnet_agent.decode import decode
from carnet_agent.frames import Frames

Int64 = NDArray[np.int64]

DATA = Path(os.environ.get("CARNET_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
CARS = {
    "Toyota RAV4": ("toyota_rav4_2017.log.gz", {"can0": "toyota_new_mc_pt_generated.dbc"}),
    "Toyota FT-86": ("toyota_ft86_drive.log.gz", {"can0": "subaru_forester_2017_generated.dbc"}),
    "Skoda": (
        "skoda_obd2_gnss.log.gz",
        {"can9": "canedge-internal-can9.dbc", "can1": "OBD-v4.4.dbc"},
    ),
}
SIGNALS = 48
LEFT_OUT = ("CHECKSUM", "COUNTER", "VIN")
SHAPES = ((1000, 60), (1000, 10), (0, 10))
"""Interval in milliseconds (0 every sample) and window in seconds."""
WINDOW_SLACK_MS = 500
"""The RAV4 capture is a hair shorter than a minute."""
SETS = ("A", "AB", "ABC", "BC", "C")
"""Per category the grants that cover it; each is a box."""
RECORDS = {name: name.encode() * 10 for name in "ABC"}
DEVICE, STREAM, CUT, BOOT = b"d" * 16, b"s" * 8, b"c" * 8, b"b" * 8
DEVICE_KEY, CLOUD_KEY = SigningKey.from_seed(b"\x01" * 32), SigningKey.from_seed(b"\x02" * 32)
SEAL_KEY = BoxKey.from_seed(b"\x03" * 32)
PUBACK_BYTES = 4


@dataclass(frozen=True, slots=True)
class Series:
    """All samples of one signal."""

    info: SignalInfo
    times: Int64
    values: Int64

    def thinned(self, interval_ms: int) -> Series:
        """Each sample that is at least the interval later than the last one kept."""
        kept, last = [], -interval_ms
        for place, at in enumerate(self.times.tolist()):
            if at - last >= interval_ms:
                kept.append(place)
                last = at
        return Series(self.info, self.times[kept], self.values[kept])

    def between(self, start: int, end: int) -> Series:
        """The samples of one window."""
        first, behind = self.times.searchsorted([start, end])
        return Series(self.info, self.times[first:behind], self.values[first:behind])


def drive(capture: str, databases: dict[str, str]) -> list[Series]:
    """The signals of a capture that are measured here, in the order of their messages."""
    plan, _ = compile_plan([(bus, load_dbc(DATA / "dbc" / name)) for bus, name in databases.items()])
    frames = Frames.concat([block.frames for block in Capture(DATA / "captures" / capture, plan.buses).blocks()])
    times = np.maximum.accumulate(frames.time_ns // 1_000_000)
    times += 3_600_000 - times[0]
    decoded = decode(plan, frames)
    found = []
    sample_times = times.take(decoded.sample_frame)
    for signal, start, length in zip(decoded.run_signal, decoded.run_start, decoded.run_length, strict=True):
        info = plan.signals[signal]
        if not any(word in info.name.upper() for word in LEFT_OUT):
            run = slice(start, start + length)
            found.append(Series(info, sample_times[run], decoded.raw[run]))
    found.sort(key=lambda series: -len(np.unique(series.values)))
    return sorted(found[:SIGNALS], key=lambda series: series.info.index)


def windows(car: list[Series], interval_ms: int, window_s: int) -> Iterator[list[Series]]:
    """Whole windows of the thinned signals that hold a sample."""
    thinned = [series.thinned(interval_ms) if interval_ms else series for series in car]
    start = min(int(series.times[0]) for series in thinned)
    end = max(int(series.times[-1]) for series in thinned) + WINDOW_SLACK_MS
    for first, behind in pairwise(range(start, end + 1, window_s * 1000)):
        window = [series.between(first, behind) for series in thinned]
        if any(len(series.times) for series in window):
            yield window


def batch_of(window: list[Series], interval_ms: int) -> Batch:
    """A batch as the agent makes it: columns of one message with the same times share a group."""
    transform = Transform(interval_ms=interval_ms or None)
    columns, times = [], []
    before: Series | None = None
    for series in window:
        info = series.info
        same = before is not None and (before.info.bus, before.info.message) == (info.bus, info.message)
        if not (same and before is not None and np.array_equal(before.times, series.times)):
            times.append(series.times)
        path = f"Vehicle.Private.{info.bus}.{info.message}.{info.name}"
        numbers = str(info.factor), str(info.offset)
        columns.append(Column(path, info.unit or "", info.kind, *numbers, transform, len(times) - 1))
        before = series
    return Batch(Schema(tuple(columns)), tuple(times), tuple(series.values for series in window))


def json_columns(batch: Batch) -> bytes:
    """What a careful JSON sender would do: short ids instead of paths, one list per column."""
    table = {
        str(number): {"t": batch.times[column.group].tolist(), "v": values.tolist()}
        for number, (column, values) in enumerate(zip(batch.schema.columns, batch.values, strict=True))
    }
    return gzip.compress(json.dumps(table, separators=(",", ":")).encode(), 6)


def json_rows(batch: Batch) -> bytes:
    """What most senders do: one object per sample, in one message."""
    rows = [
        {"s": number, "t": at, "v": value}
        for number, (column, values) in enumerate(zip(batch.schema.columns, batch.values, strict=True))
        for at, value in zip(batch.times[column.group].tolist(), values.tolist(), strict=True)
    ]
    return gzip.compress(json.dumps(rows, separators=(",", ":")).encode(), 6)


def mqtt_publish_bytes(topic: str, payload: int) -> int:
    """An MQTT 5 PUBLISH with QoS 1 and no property."""
    remaining = 2 + len(topic) + 2 + 1 + payload
    return 1 + (1 + (remaining > 127) + (remaining > 16_383)) + remaining


def window_on_the_wire(
    window: list[Series], seed: random.Random, encode: Callable[[Batch], bytes] = codec.encode
) -> dict[str, float]:
    """Bytes of one window at product defaults, by where they go; ``encode`` makes the body of a box."""
    parts = five(window)
    header = Header(EnvelopeType.DATA, DEVICE, STREAM, 9, CUT, DEVICE_KEY.kid, b"p" * 32)
    boxes, bodies, prefixes = [], 0, 0
    for index, (names, batch) in enumerate(
        (names, batch) for names, batch in zip(SETS, parts, strict=True) if batch.samples
    ):
        body = encode(batch)
        records = tuple(RECORDS[name] for name in names)
        prelude = Prelude(1, 2, BOOT, 3_600_000, schema_hash=batch.schema.hash, records=records)
        place = Place(header.type, index, DEVICE, STREAM, CUT, DEVICE_KEY.kid, SEAL_KEY.kid)
        boxes.append((SEAL_KEY.kid, seal_box(prelude, body, SEAL_KEY.public, place, seed.randbytes(32))))
        bodies += len(body)
        prefixes += 13 + 48 + 94 + 10 * len(records)
    envelope = sign_envelope(header, boxes, DEVICE_KEY)
    manifest = parse_envelope(envelope).manifest_hash
    ack = sign_ack(Ack(STREAM, 9, manifest, 1_760_000_000_000, ranges=((9, 9),)), DEVICE, CLOUD_KEY)
    frames = mqtt_publish_bytes(topic_up(DEVICE), len(envelope)) - len(envelope)
    frames += mqtt_publish_bytes(topic_down(DEVICE), len(ack)) - len(ack) + 2 * PUBACK_BYTES
    padding = len(envelope) - 152 - prefixes - bodies
    return {"codec": bodies, "boxes": prefixes, "padding": padding, "envelope": 152, "ack": len(ack), "mqtt": frames}


def inside(batch: Batch) -> dict[str, float]:
    """Bytes of a body's sections before zstd, and of a coder without waste in their place."""
    lengths = np.array([len(column) for column in (*batch.times, *batch.values)], np.int64)
    counts = lengths[: len(batch.times)]
    x = np.concatenate((*batch.times, *batch.values)).astype(np.int64)
    x[: counts.sum()] -= x[: counts.sum()].min()
    runs = predict.Runs.of(lengths[lengths > 0])
    found = predict.candidates(x, runs)
    written = levels.choose(found, runs)
    rest = np.maximum(runs.lengths - 1, 1)
    mean = np.maximum(np.add.reduceat(found.residuals.astype(np.float64), runs.starts, axis=1) / rest, 1e-12)
    bits = rest * ((1 + mean) * np.log2(1 + mean) - mean * np.log2(mean))
    bits[predict.TWIN, ~runs.has_twin()] = np.inf
    best = bits.min(axis=0) / 8
    return {
        "counts": len(varint.encode(counts.view(np.uint64))),
        "run bytes": len(runs.lengths),
        "heads": len(varint.encode(written.heads)),
        "bits": sum(map(len, rice.write(written.numbers, written.k))),
        "no waste": best.sum(),
        "times of it": best[: np.count_nonzero(counts)].sum(),
    }


def five(window: list[Series]) -> list[Batch]:
    """The batches of the five boxes of a window; one without a sample is not sent."""
    bounds = [round(SIGNALS * n / len(SETS)) for n in range(len(SETS) + 1)]
    return [batch_of(window[start:end], 1000) for start, end in pairwise(bounds)]


def shares(parts: list[dict[str, float]], samples: int) -> str:
    """Bytes per sample by where they go."""
    return "  ".join(f"{name} {sum(part[name] for part in parts) / samples:.3f}" for name in parts[0])


def median_ns(work: Callable[[], object], samples: int) -> float:
    """Median CPU time per sample of nine goes of about 20 ms."""
    start = time.thread_time_ns()
    work()
    repeats = max(1, 20_000_000 // max(1, time.thread_time_ns() - start))
    goes = []
    for _ in range(9):
        start = time.thread_time_ns()
        for _ in range(repeats):
            work()
        goes.append((time.thread_time_ns() - start) / repeats / samples)
    return statistics.median(goes)


def codec_alone(car: str, series: list[Series], interval_ms: int, window_s: int) -> dict[str, object]:
    """One row of the first table."""
    batches = [batch_of(window, interval_ms) for window in windows(series, interval_ms, window_s)]
    samples = sum(batch.samples for batch in batches)
    bodies = [codec.encode(batch) for batch in batches]
    one = max(range(len(batches)), key=lambda n: batches[n].samples)
    batch, body = batches[one], bodies[one]
    together = [(body, batch.schema)] * 16
    row: dict[str, object] = {
        "car": car,
        "rate": "1 Hz" if interval_ms else "all",
        "window": window_s,
        "windows": len(batches),
        "samples": samples // len(batches),
        "ours": sum(map(len, bodies)) / samples,
        "columns": sum(len(json_columns(batch)) for batch in batches) / samples,
        "rows": sum(len(json_rows(batch)) for batch in batches) / samples,
        "encode": median_ns(lambda: codec.encode(batch), batch.samples),
        "json": median_ns(lambda: json_columns(batch), batch.samples),
        "decode": median_ns(lambda: codec.decode(body, batch.schema), batch.samples),
        "many": median_ns(lambda: codec.decode_many(together), 16 * batch.samples),
        "schema": len(compress(batch.schema.document)),
    }
    print(
        f"{car:13} {row['rate']:>5} {window_s:>3} s {row['windows']:>4} {row['samples']:>8} {row['ours']:>7.3f}"
        f" {row['columns']:>9.2f} {row['rows']:>7.2f} {row['encode']:>8.0f} {row['json']:>7.0f} {row['decode']:>8.0f}"
        f" {row['many']:>8.0f} {row['schema']:>8}"
    )
    return row


def main() -> int:
    """Print two tables and one JSON line."""
    if not DATA.is_dir():
        print("bench/bytes: the shared vehicle data is missing: set CARNET_DATA to its folder", file=sys.stderr)
        return 1
    cars = {name: drive(*source) for name, source in CARS.items()}
    print("Codec alone, bytes and CPU nanoseconds per sample; 'schema' is sent once, in bytes")
    print(
        f"{'car':13} {'rate':>5} {'window':>5} {'n':>3} {'samples':>8} {'ours':>7} {'JSON cols':>9} {'rows':>7}"
        f" {'encode':>8} {'JSON':>7} {'decode':>8} {'16 each':>8} {'schema':>8}"
    )
    alone = [codec_alone(name, series, *shape) for name, series in cars.items() for shape in SHAPES]
    print("\nProduct defaults, bytes per sample: 60 s, 1 Hz, five boxes, three grants, acknowledgement and MQTT")
    totals = {}
    for name, series in cars.items():
        found = [window_on_the_wire(window, random.Random(1)) for window in windows(series, 1000, 60)]
        samples = sum(len(s.times) for window in windows(series, 1000, 60) for s in window)
        totals[name] = round(sum(sum(window.values()) for window in found) / samples, 3)
        print(f"{name:13} {totals[name]:.3f} = {shares(found, samples)}   ({samples // len(found)} samples a window)")
    print("\nInside the bodies, bytes per sample")
    for name, series in cars.items():
        batches = [batch for window in windows(series, 1000, 60) for batch in five(window) if batch.samples]
        print(f"{name:13} {shares([inside(batch) for batch in batches], sum(batch.samples for batch in batches))}")
    machine = {"machine": platform.processor() or platform.machine(), "python": platform.python_version()}
    print(json.dumps({"bench": "bytes", **machine, "product_defaults": totals, "codec": alone}, default=float))
    return 0


if __name__ == "__main__":
    sys.exit(main())
