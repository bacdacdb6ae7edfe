"""Makes ``sealed.json`` beside this file, byte for byte the same every time: events with sealed readings.

Run it after a change of the format: ``python -m tests.vectors.make_sealed_vectors``. Batches are put together from
their sections, as in `make_codec_vectors`, so that no zstd version shows. Every vector says in one word what must
become of it: ``accepted`` (then ``columns`` are what is in it) or the reason of the refusal.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from carnet import hashes
from carnet.keys import BoxKey
from carnet.padding import pad
from carnet.sealedbox import seal
from tests.vectors.make_codec_vectors import DELTA, LINE, RAW, Run, column, frame, number, plain, schema
from tests.vectors.make_vectors import seed

FILE = Path(__file__).parent / "sealed.json"
RECIPIENT_SEED, OTHER_SEED = b"\x06" * 32, b"\x07" * 32
KEY, OTHER = BoxKey.from_seed(RECIPIENT_SEED), BoxKey.from_seed(OTHER_SEED)
RECORD, RECORD_TEXT, OTHER_RECORD_TEXT = b"record-one", "rec_ojswg33smqww63tf", "rec_ojswg33smqwxi53p"
BOOT = b"boot-id1"
AGGREGATE = {"aggregate": {"fields": ["max"], "window_ms": 60_000}}
SCHEMA = schema(
    column(labels=[[0, "stands"]]), column(path="Vehicle.TraveledDistance", factor="1", offset="0", unit="km", group=1)
)
AGGREGATED = schema(column(transform=AGGREGATE, field="max"))
SPEEDS = Run(LINE, 0, [0, 1000]), Run(DELTA, 0, [7]), Run(DELTA, 2, [160], [2, -1, 4]), Run(RAW, 0, [12_345])
BATCH = plain(5000, [4, 1], *SPEEDS)
ROWS = plain(120_000, [2], Run(DELTA, 0, [0]), Run(DELTA, 0, [8]))
FIRST_MS, LAST_MS, COUNTS = 5000, 8000, (4, 1)
EARLIEST_MS = 1_760_000_000_000
ANCHOR = {"boot_id": BOOT.hex(), "boot_ms": 10_000, "earliest_ms": EARLIEST_MS, "latest_ms": EARLIEST_MS + 40}
Vector = dict[str, Any]


def declaration(
    first_ms: int = FIRST_MS, last_ms: int = LAST_MS, counts: tuple[int, ...] = COUNTS, kid: bytes = KEY.kid
) -> bytes:
    return b"\2" + kid + number(first_ms) + number(last_ms - first_ms) + b"".join(map(number, counts))


def part(
    declared: bytes, batch: bytes = BATCH, document: bytes = SCHEMA, key: BoxKey = KEY, record: bytes = RECORD
) -> bytes:
    """A right part of what was declared, unless something else is asked for."""
    bound = record + BOOT + hashes.digest(hashes.SCHEMA, document) + declared
    plaintext = pad(hashes.digest(hashes.SEALED, bound) + batch)
    return seal(plaintext, key.public, seed(f"{declared.hex()}{batch.hex()}{record!r}"))


def body(**other: Any) -> bytes:
    """A right sealed body, but for what is declared otherwise."""
    return declaration(**other) + part(declaration(**other))


def event(body: bytes, document: bytes = SCHEMA, record: str = RECORD_TEXT, **other: Any) -> dict[str, Any]:
    """An event with one sealed body."""
    sealed = {
        "kid": KEY.kid.hex(), "body": base64.b64encode(body).decode(), "schema": json.loads(document), "anchor": ANCHOR,
    }  # fmt: skip
    data = {
        "record": record, "generation": 7, "reference": "4711", "log_position": 9, "receipt": None,
        "receipt_ms": 1_760_000_100_000, "sealed": [{**sealed, **other.pop("piece", {})}],
    }  # fmt: skip
    return {
        "specversion": "1.0", "id": "0" * 31 + "1", "source": "urn:carnet:ten_aaaaaaaaaaaaaaaa",
        "type": "carnet.sealed.v1", "subject": "a" * 26, "time": "2025-10-09T08:53:18.020Z",
        "datacontenttype": "application/json", "data": {**data, **other},
    }  # fmt: skip


def accepted() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "the example", event(body())
    framed = b"\1" + frame(BATCH[1:])
    yield "a batch in a zstd frame", event(declaration() + part(declaration(), framed))
    wide = declaration(first_ms=0, last_ms=9000)
    yield "declared wider than it is", event(wide + part(wide))
    empty = declaration(counts=(4, 0))
    only = plain(5000, [4, 0], *SPEEDS[:1], SPEEDS[2])
    yield "a group without a sample", event(empty + part(empty, only))
    rows = declaration(first_ms=60_000, last_ms=120_000, counts=(2,))
    late = {"anchor": {**ANCHOR, "boot_ms": 130_000}}
    yield (
        "an aggregate from the begin of its window on",
        event(rows + part(rows, ROWS, AGGREGATED), AGGREGATED, piece=late),
    )


def refused_by_everybody() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What the cloud refuses already."""
    right = part(declaration())
    yield "ends within the key id", "sealed_size", event(declaration()[:8])
    yield "no part", "sealed_size", event(declaration())
    yield "a byte is missing", "sealed_size", event(body()[:-1])
    yield "a byte too many", "sealed_size", event(body() + b"\0")
    yield "ends within the numbers", "varint_malformed", event(declaration()[:10])
    long = b"\2" + KEY.kid + number(FIRST_MS, 3) + declaration()[11:]
    yield "first in more bytes than it needs", "varint_malformed", event(long + right)
    yield "last is 2^53", "sealed_times", event(body(first_ms=1, last_ms=2**53))
    yield "no sample", "batch_counts", event(body(counts=(0, 0)))
    yield "more than a batch may have", "batch_counts", event(body(counts=(131_072, 1)))


def refused_by_the_recipient() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What only the recipient can see."""
    right = part(declaration())
    yield "form 0", "sealed_size", event(BATCH)
    yield "no JSON type of its own", "event_malformed", event(body(), piece={"body": 7})
    spare = base64.b64encode(b"\2").decode().replace("g", "h")
    yield "spare bits in base64", "event_malformed", event(body(), piece={"body": spare})
    yield "a schema that is none", "event_malformed", event(body(), piece={"schema": {"columns": [], "v": 1}})
    yield (
        "an anchor that ends before it begins",
        "event_malformed",
        event(body(), piece={"anchor": {**ANCHOR, "latest_ms": 0}}),
    )
    yield "no pieces", "event_malformed", event(body(), sealed=[])
    yield "a record of another form", "event_malformed", event(body(), record="rec_1")
    foreign = declaration(kid=OTHER.kid)
    yield "sealed to another recipient", "box_key_differs", event(foreign + part(foreign, key=OTHER))
    yield (
        "sealed to another key than it says",
        "box_does_not_open",
        event(declaration() + part(declaration(), key=OTHER)),
    )
    flipped = body()[:-1] + bytes([body()[-1] ^ 1])
    yield "a bit flipped in the part", "box_does_not_open", event(flipped)
    unpadded = seal(bytes(256), KEY.public, seed("unpadded"))
    yield "no padding", "padding_wrong", event(declaration() + unpadded)
    yield "under another declaration", "binding_differs", event(declaration(last_ms=9000) + right)
    yield "under another record", "binding_differs", event(body(), record=OTHER_RECORD_TEXT)
    other_schema = SCHEMA.replace(b'"factor":"0.25"', b'"factor":"0.5"')
    yield "under another schema", "binding_differs", event(body(), other_schema)
    yield (
        "under another boot",
        "binding_differs",
        event(body(), piece={"anchor": {**ANCHOR, "boot_id": b"boot-id2".hex()}}),
    )
    yield "a sealed body in a sealed body", "codec_unknown", event(declaration() + part(declaration(), body()))
    yield "not a batch of this schema", "batch_length", event(declaration() + part(declaration(), BATCH + b"\0"))
    less = declaration(counts=(3, 1))
    yield "fewer samples declared than sealed", "declared_counts", event(less + part(less))
    more = declaration(counts=(4, 2))
    yield "more samples declared than sealed", "declared_counts", event(more + part(more))
    late = declaration(first_ms=5001)
    yield "a reading from before first", "declared_times", event(late + part(late))
    early = declaration(last_ms=7999)
    yield "a reading from after last", "declared_times", event(early + part(early))
    rows = declaration(first_ms=60_001, last_ms=120_000, counts=(2,))
    yield "a window that began before first", "declared_times", event(rows + part(rows, ROWS, AGGREGATED), AGGREGATED)
    yield "captured after the receipt", "after_receipt", event(body(), receipt_ms=1_759_999_990_000)


def document() -> dict[str, Any]:
    """Seeds and vectors; ``columns`` are the physical values, times and uncertainties that a reader finds."""
    from carnet.sealedevents import Opener

    vectors: list[Vector] = []
    for name, given in accepted():
        opened = json.loads(Opener((KEY,)).open(json.dumps(given).encode()))
        vectors.append({"name": name, "outcome": "accepted", "event": given, "columns": opened["data"]["columns"]})
    vectors += [
        {"name": name, "outcome": reason, "event": given}
        for name, reason, given in (*refused_by_everybody(), *refused_by_the_recipient())
    ]
    return {"recipient_seed": RECIPIENT_SEED.hex(), "recipient_key": KEY.public.hex(), "vectors": vectors}


def text() -> str:
    """The file."""
    made = document()
    lines = ",\n".join(json.dumps(vector) for vector in made.pop("vectors"))
    return json.dumps(made)[:-1] + ', "vectors": [\n' + lines + "\n]}\n"


if __name__ == "__main__":
    FILE.write_text(text())
