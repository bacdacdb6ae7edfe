"""Readers in another language, written from ``docs/`` alone, read batches and open sealed events as we do."""

from __future__ import annotations

import base64
import json
import random
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carnet import codec
from carnet.batch import Batch
from carnet.schema import Schema
from carnet.sealed import seal_body
from carnet.sealedevents import Opener
from tests.carnet.ledger.test_stranger import require_node
from tests.carnet.test_codec import lists, schema_of, slow_columns
from tests.carnet.test_sealed import BOOT, KEY, RECORD, SCHEMA, outcome
from tests.conftest import CHECKOUT
from tests.vectors import make_sealed_vectors as maker
from tests.vectors.make_codec_vectors import column
from tests.vectors.make_codec_vectors import schema as schema_document

STRANGERS = CHECKOUT / "tests" / "strangers"
BATCHES: list[dict[str, Any]] = json.loads((CHECKOUT / "tests" / "vectors" / "codec" / "batch.json").read_text())
EVENTS: list[dict[str, Any]] = json.loads(maker.FILE.read_text())["vectors"]


def said(reader: str, *words: str | Path) -> list[dict[str, Any]]:
    command = [require_node(), STRANGERS / reader, *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def read_batches(batches: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """What the stranger reads in bodies with their groups."""
    file = folder / "batches.json"
    file.write_text(json.dumps(batches))
    found = said("read_batches.mjs", file)
    assert len(found) == len(batches)
    return found


def open_events(events: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """What the stranger finds in events, with the recipient's key of the vectors."""
    file = folder / "events.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    found = said("open_events.mjs", maker.RECIPIENT_SEED.hex(), file)
    assert len(found) == len(events)
    return found


def test_a_stranger_reads_every_batch_vector_as_it_says(tmp_path: Path) -> None:
    for vector, found in zip(BATCHES, read_batches(BATCHES, tmp_path), strict=True):
        expected = {name: vector[name] for name in ("outcome", "times", "values") if name in vector}
        assert found == expected, vector["name"]


def noise(source: np.random.Generator) -> Batch:
    """Bytes that some of zstd's codes are made for: few symbols, many, with and without repetition."""
    count = int(source.integers(1, 400))
    kinds = (
        source.integers(-3, 3, count), source.integers(-(2**40), 2**40, count), np.full(count, 7),
        np.tile(source.integers(0, 2**20, 7), count)[:count], source.integers(0, 2, count).cumsum(),
        np.where(source.random(count) < 0.05, 1, 0),
    )  # fmt: skip
    columns = [kinds[int(n)] for n in source.integers(0, len(kinds), int(source.integers(1, 40)))]
    times = source.integers(0, 2000, count).cumsum()
    return Batch(schema_of([0] * len(columns)), (times,), tuple(column.astype(np.int64) for column in columns))


def test_a_stranger_reads_what_we_compress(tmp_path: Path) -> None:
    """Through a zstd decoder of its own."""
    batches = [slow_columns(seed) for seed in range(10)] + [noise(np.random.default_rng(seed)) for seed in range(40)]
    bodies = [codec.encode(batch) for batch in batches]
    assert {body[0] for body in bodies} == {0, 1}
    given = [{"groups": list(b.schema.groups), "bytes": body.hex()} for b, body in zip(batches, bodies, strict=True)]
    for batch, found in zip(batches, read_batches(given, tmp_path), strict=True):
        times, values = lists(batch)
        assert found == {"outcome": "accepted", "times": times, "values": [[str(v) for v in each] for each in values]}


def test_a_stranger_opens_every_event_vector_as_it_says(tmp_path: Path) -> None:
    for vector, found in zip(EVENTS, open_events([v["event"] for v in EVENTS], tmp_path), strict=True):
        expected = {name: vector[name] for name in ("outcome", "columns") if name in vector}
        assert found == expected, vector["name"]


def test_a_stranger_opens_what_was_sealed_under_every_kind_of_number(tmp_path: Path) -> None:
    """Integers and floats of all sizes, times on both sides of the anchor, and the receipt in between."""
    source = random.Random(3)
    columns = [
        column(kind=kind, factor=factor, offset=offset, group=0)
        for kind, factor, offset in (
            ("int", "1", "0"), ("uint", "1", "0"), ("int", "3", "-40"), ("int", "0.1", "-40"), ("uint", "2.0", "5"),
            ("int", "7", "0.5"), ("float64", "1", "0"), ("float32", "1", "0"), ("float64", "0.25", "3"),
        )
    ]  # fmt: skip
    document = schema_document(*columns)
    schema = Schema.parse(document)
    events = []
    for _ in range(20):
        count = source.randint(1, 30)
        times = np.sort(np.array([source.randrange(0, 40_000) for _ in range(count)], np.int64))
        values = tuple(_values(each["kind"], count, source) for each in columns)
        body = seal_body(Batch(schema, (times,), values), KEY.public, RECORD, maker.BOOT, source.randbytes(32))
        events.append(maker.event(body, document, receipt_ms=maker.EARLIEST_MS + 30_010))
    for event, found in zip(events, open_events(events, tmp_path), strict=True):
        assert found["outcome"] == outcome(event)
        if found["outcome"] == "accepted":
            ours = json.loads(Opener((KEY,)).open(json.dumps(event).encode()))
            assert found["columns"] == ours["data"]["columns"]


def _values(kind: str, count: int, source: random.Random) -> Any:
    if kind == "float64":
        return np.array([source.uniform(-1e6, 1e6) for _ in range(count)]).view(np.int64)
    if kind == "float32":
        return np.array([source.uniform(-1e6, 1e6) for _ in range(count)], np.float32).view(np.uint32).astype(np.int64)
    return np.array([source.randrange(0 if kind == "uint" else -(2**50), 2**50) for _ in range(count)], np.int64)


def test_a_stranger_refuses_a_sealed_body_with_a_flipped_bit_anywhere(tmp_path: Path) -> None:
    batch = Batch(
        SCHEMA, (np.array([1000, 2000], np.int64), np.array([1500], np.int64)),
        (np.array([100, 102], np.int64), np.array([7], np.int64)),
    )  # fmt: skip
    body = seal_body(batch, KEY.public, RECORD, BOOT, b"e" * 32)
    anchor = {**maker.ANCHOR, "boot_id": BOOT.hex()}
    events = [
        maker.event(
            body[:at] + bytes([body[at] ^ 1 << at % 8]) + body[at + 1 :], SCHEMA.document, piece={"anchor": anchor}
        )
        for at in range(len(body))
    ]
    right = maker.event(body, SCHEMA.document, piece={"anchor": anchor})
    found = open_events([right, *events], tmp_path)
    assert found[0]["outcome"] == "accepted"
    assert [each["outcome"] for each in found[1:]] == [outcome(event) for event in events]
    assert "accepted" not in {each["outcome"] for each in found[1:]}


@pytest.mark.parametrize("seed", [b"\x07" * 32, b"\x03" * 32])
def test_a_stranger_with_another_key_is_shown_nothing(tmp_path: Path, seed: bytes) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(json.dumps(EVENTS[0]["event"]))
    (found,) = said("open_events.mjs", seed.hex(), file)
    assert found == {"outcome": "box_key_differs"}
    assert base64.b64decode(EVENTS[0]["event"]["data"]["sealed"][0]["body"])
