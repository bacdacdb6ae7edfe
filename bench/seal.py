"""What sealing costs: microseconds per envelope on both sides, and bytes besides the readings.

    python bench/seal.py

Prints medians of CPU time for an envelope with one body of 2,048 random bytes (seal and sign; parse, verify and open),
the same for four and seven boxes that share these bytes, and the overhead in bytes:
everything that is not body, split into format and padding.
"""

from __future__ import annotations

import platform
import random
import statistics
import time
from collections.abc import Callable

from carnet.box import Place, Prelude, open_box, seal_box
from carnet.envelope import NO_PREVIOUS, Header, parse_envelope, sign_envelope, verify
from carnet.envelopetype import EnvelopeType
from carnet.keys import BoxKey, SigningKey

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


if __name__ == "__main__":
    main()
