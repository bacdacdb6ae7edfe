"""The same readings in the formats that others send: ``formats()``; those whose package is missing are left out.

A format gets what it would get in its own product: raw integers, or physical values where its schema asks for these,
both made before the clock starts. Where it can be read again without a schema of ours, `Format.decode` does, and the
bench compares.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from numpy.typing import NDArray

from bench.bytes import json_columns, json_rows
from bench.rig import protobuf
from bench.rig.rivals import rival
from carnet import codec
from carnet.batch import Batch

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZSTD_LEVEL = 3
CAMPAIGN, DECODER = b"campaign-of-26-characters-", b"decoder--of-26-characters-"
Int64 = NDArray[np.int64]
Columns = list[tuple[list[int], list[int]]]
"""Per signal its times and its raw values."""


@dataclass(slots=True)
class Window:
    """One message's readings."""

    batch: Batch
    raw: Columns = field(init=False)
    physical: list[list[float]] = field(init=False)

    def __post_init__(self) -> None:
        columns = list(zip(self.batch.schema.columns, self.batch.values, strict=True))
        self.raw = [(self.batch.times[column.group].tolist(), values.tolist()) for column, values in columns]
        self.physical = [(values * float(c.factor) + float(c.offset)).tolist() for c, values in columns]

    def signals(self) -> list[tuple[int, list[int], list[float]]]:
        """Number from 1, times, physical values."""
        return [(n, times, self.physical[n - 1]) for n, (times, _) in enumerate(self.raw, 1)]

    def flat(self) -> tuple[NDArray[np.uint16], Int64, Int64]:
        """One row for each sample: signal, time, raw value; signal after signal."""
        counts = [len(values) for values in self.batch.values]
        signals = np.repeat(np.arange(len(counts), dtype=np.uint16), counts)
        times = np.concatenate([self.batch.times[column.group] for column in self.batch.schema.columns])
        return signals, times, np.concatenate(self.batch.values)


@dataclass(frozen=True, slots=True)
class Format:
    """``lost``: what a reader no longer has. ``language``: what its encoder here is written in."""

    name: str
    encode: Callable[[Window], bytes]
    decode: Callable[[bytes], Columns] | None = None
    language: str = "C"
    lost: str = ""


def formats() -> list[Format]:
    """Ours first."""
    return [
        Format("Carnet", lambda window: codec.encode(window.batch), language="numpy"),
        *_pcodec(),
        Format("msgpack columns + zstd", _msgpack_columns, _from_msgpack_columns),
        Format("msgpack rows + zstd", _msgpack_rows, _from_msgpack_rows),
        Format("Parquet, delta + zstd", lambda window: _parquet(window, delta=True), _from_parquet),
        Format("Parquet + zstd", lambda window: _parquet(window, delta=False), _from_parquet),
        Format("Arrow IPC + zstd", lambda window: _arrow(window, "zstd"), _from_arrow),
        Format("Arrow IPC", lambda window: _arrow(window, None), _from_arrow),
        Format("JSON columns + gzip", lambda window: json_columns(window.batch), _from_json_columns),
        Format("JSON rows + gzip", lambda window: json_rows(window.batch), _from_json_rows),
        *_fleetwise(),
        Format("Tesla, numbers", lambda window: _tesla(window, text=False), language="Python", lost="time to 500 ms"),
        Format("Tesla, strings", lambda window: _tesla(window, text=True), language="Python", lost="time to 500 ms"),
    ]


def _from_json_columns(data: bytes) -> Columns:
    return [(column["t"], column["v"]) for column in json.loads(gzip.decompress(data)).values()]


def _from_json_rows(data: bytes) -> Columns:
    return _grouped((row["s"], row["t"], row["v"]) for row in json.loads(gzip.decompress(data)))


def _msgpack_columns(window: Window) -> bytes:
    return zstd.compress(msgpack.packb(window.raw), level=ZSTD_LEVEL)


def _from_msgpack_columns(data: bytes) -> Columns:
    return [(times, values) for times, values in msgpack.unpackb(zstd.decompress(data))]


def _msgpack_rows(window: Window) -> bytes:
    rows = [
        (number, at, value)
        for number, (times, values) in enumerate(window.raw)
        for at, value in zip(times, values, strict=True)
    ]
    return zstd.compress(msgpack.packb(rows), level=ZSTD_LEVEL)


def _from_msgpack_rows(data: bytes) -> Columns:
    return _grouped(msgpack.unpackb(zstd.decompress(data)))


def _table(window: Window) -> pa.Table:
    signals, times, values = window.flat()
    return pa.table({"s": signals, "t": times, "v": values})


def _from_table(table: pa.Table) -> Columns:
    return _grouped(zip(*(table[name].to_pylist() for name in "stv"), strict=True))


def _arrow(window: Window, compression: str | None) -> bytes:
    table, sink = _table(window), io.BytesIO()
    how = pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)  # its threads' time would not be counted
    with pa.ipc.new_stream(sink, table.schema, options=how) as stream:
        stream.write_table(table)
    return sink.getvalue()


def _from_arrow(data: bytes) -> Columns:
    return _from_table(pa.ipc.open_stream(data).read_all())


def _parquet(window: Window, *, delta: bool) -> bytes:
    sink = io.BytesIO()
    how: dict[str, Any] = {"column_encoding": dict.fromkeys("tv", "DELTA_BINARY_PACKED")} if delta else {}
    pq.write_table(
        _table(window), sink, compression="zstd", use_dictionary=["s"] if delta else True, write_statistics=False, **how
    )
    return sink.getvalue()


def _from_parquet(data: bytes) -> Columns:
    return _from_table(pq.read_table(io.BytesIO(data)))


def _pcodec() -> list[Format]:
    pcodec = rival("pcodec")
    if pcodec is None:
        return []
    compress, config = pcodec.standalone.simple_compress, pcodec.ChunkConfig()

    def encode(window: Window) -> bytes:
        """Three flat arrays: how many of each signal, times of each group, values."""
        batch = window.batch
        lengths = np.array([len(times) for times in batch.times], np.uint32)
        groups = np.array([column.group for column in batch.schema.columns], np.uint32)
        parts = [lengths, groups, np.concatenate(batch.times), np.concatenate(batch.values)]
        packed = [compress(part, config) for part in parts]
        return b"".join(len(each).to_bytes(2, "little") + each for each in packed)

    def decode(data: bytes) -> Columns:
        parts, at = [], 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 2], "little")
            parts.append(pcodec.standalone.simple_decompress(data[at + 2 : at + 2 + size]))
            at += 2 + size
        lengths, groups, flat_times, flat_values = parts
        times = np.split(flat_times, np.cumsum(lengths)[:-1])
        values = np.split(flat_values, np.cumsum(lengths[groups])[:-1])
        return [(times[group].tolist(), each.tolist()) for group, each in zip(groups, values, strict=True)]

    return [Format("pcodec, flat arrays", encode, decode, language="Rust")]


def _vehicle_data(window: Window) -> bytes:
    end_ms = max(int(times[-1]) for times in window.batch.times if len(times))
    return protobuf.fleetwise(CAMPAIGN, DECODER, 1, end_ms, window.signals())


def _fleetwise() -> list[Format]:
    found = [Format("FleetWise", _vehicle_data, language="Python")]
    cramjam = rival("cramjam")
    if cramjam is not None:
        snappy = cramjam.snappy.compress_raw
        packed = Format("FleetWise + snappy", lambda window: bytes(snappy(_vehicle_data(window))), language="Python")
        found.insert(0, packed)
    return found


def _tesla(window: Window, *, text: bool) -> bytes:
    return b"".join(protobuf.tesla(window.signals(), text=text))


def _grouped(rows: Any) -> Columns:
    """Rows of signal, time, value as columns."""
    found: dict[int, tuple[list[int], list[int]]] = {}
    for signal, at, value in rows:
        times, values = found.setdefault(signal, ([], []))
        times.append(at)
        values.append(value)
    return [found[signal] for signal in sorted(found)]
