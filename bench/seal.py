"""What sealing costs: microseconds per envelope on both sides, and bytes besides the readings.

    python bench/seal.py

Prints medians of CPU time for an envelope with one body of 2,048 random bytes (seal and sign; parse, verify and open),
the same for four and seven boxes that share these bytes, and the overhead in bytes:
everything that is not body, split into format and padding. Then what it costs to seal a minute of 48 signals at 1 Hz
(random walks) to its recipient inside of such a box, beside the same readings open to the cloud.
"""

from __future__ import annotations

import platform
import random
import statistics
import time
from collections.abc import Callable

import numpy as np

from carnet.batch import Batch
from carnet.box import Place, Prelude, open_box, seal_box
from carnet.codec import decode, encode
from carnet.envelope import NO_PREVIOUS, Header, parse_envelope, sign_envelope, verify
from carnet.envelopetype import EnvelopeType
from carnet.keys import BoxKey, SigningKey
from carnet.schema import Column, Schema
from carnet.sealed import open_body, parse_sealed, seal_body
from carnet.transforms import Transform

BODY_BYTES = 2048
ROUNDS, REPEATS = 9, 200
DEVICE_KEY, CLOUD = SigningKey.from_seed(b"\x01" * 32), BoxKey.from_seed(b"\x02" * 32)
HEADER = Header(EnvelopeType.DATA, b"d" * 16, b"s" * 8, 1, b"c" * 8, DEVICE_KEY.kid, NO_PREVIOUS)
PRELUDE = Prelude(1, 2, b"b" * 8, 3, schema_hash=b"h" * 16, records=(b"r" * 10,))


def send(bodies: list[bytes], seed: random.Random) -> bytes:
    """An envelope with one box per body."""
    boxes = []
    for index, body in enumerate(bodies):
        place = Place(HEADER.type, index, HEADER.device, HEADER.stream, HEADER.cut, HEADER.device_kid, CLOUD.kid)
        boxes.append((CLOUD.kid, seal_box(PRELUDE, body, CLOUD.public, place, seed.randbytes(32))))
    return sign_envelope(HEADER, boxes, DEVICE_KEY)


def receive(data: bytes) -> int:
    """Everything the receiver does with the bytes; returns the size of the bodies."""
    envelope = parse_envelope(data)
    verify(envelope, DEVICE_KEY.public)
    opened = (open_box(part.box or b"", CLOUD, envelope.place(n)) for n, part in enumerate(envelope.parts))
    return sum(len(body) for _, body in opened)


def median_us(work: Callable[[], object]) -> float:
    """Median over rounds of the CPU microseconds of one call."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(REPEATS):
            work()
        rounds.append((time.process_time() - start) / REPEATS * 1e6)
    return statistics.median(rounds)


def minute() -> Batch:
    """48 signals in 8 groups, a reading each second, that change by a step or not."""
    source = np.random.default_rng(1)
    columns = [Column(f"Vehicle.S{n}", "km", "int", "1", "0", Transform(interval_ms=1000), n // 6) for n in range(48)]
    times = tuple(3_600_000 + 7 * n + 1000 * np.arange(60, dtype=np.int64) for n in range(8))
    return Batch(Schema(tuple(columns)), times, tuple(source.integers(-1, 2, 60).cumsum() for _ in columns))


def to_its_recipient(seed: random.Random) -> None:
    """One line for a body that the cloud reads, one for a body that only its recipient does."""
    batch, record, boot, key = minute(), b"r" * 10, b"b" * 8, BoxKey.from_seed(b"\x03" * 32)
    plain, sealed = encode(batch), seal_body(batch, key.public, record, boot, seed.randbytes(32))
    car = [median_us(lambda: encode(batch)), median_us(lambda: seal_body(batch, key.public, record, boot, b"s" * 32))]
    cloud = [median_us(lambda: decode(plain, batch.schema)), median_us(lambda: parse_sealed(sealed, batch.schema))]
    opening = median_us(lambda: open_body(sealed, batch.schema, key, record, boot))
    print(f"\n{batch.samples} samples             car us  cloud us  recipient us  body B  envelope B")
    rows = ("open to the cloud", plain, ""), ("to its recipient", sealed, f"{opening:.0f}")
    for (name, body, reading), at_car, at_cloud in zip(rows, car, cloud, strict=True):
        print(f"{name:24}{at_car:7.0f}{at_cloud:10.0f}{reading:>14}{len(body):8}{len(send([body], seed)):12}")


def main() -> None:
    """Print one line per number of boxes."""
    seed = random.Random(1)
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()},"
        f" {BODY_BYTES} bytes of bodies"
    )
    print("boxes  seal+sign us  verify+open us  envelopes/s/core  envelope B  format B  padding B")
    for count in (1, 4, 7):
        bodies = [seed.randbytes(BODY_BYTES // count) for _ in range(count)]
        data = send(bodies, seed)
        content = receive(data)
        sending, receiving = median_us(lambda: send(bodies, seed)), median_us(lambda: receive(data))  # noqa: B023
        fixed = 152 + count * (13 + 48 + 94 + 10)
        padding = len(data) - content - fixed
        columns = f"{sending:12.0f}  {receiving:14.0f}  {1e6 / receiving:16.0f}"
        print(f"{count:5}  {columns}  {len(data):10}  {fixed:8}  {padding:9}")
    to_its_recipient(seed)


if __name__ == "__main__":
    main()
