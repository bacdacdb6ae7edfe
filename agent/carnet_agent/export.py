"""Write decoded samples as CSV, JSON Lines or Parquet, in capture order and without losing a digit.

Law: one row per sample, frames in capture order, signals of a frame in the order of their first bits as cantools lists
them; raw and value are the numbers that cantools yields, in the shortest form that reads back the same.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from carnet.errors import UnavailableError
from carnet_agent.captures.capture import Block
from carnet_agent.dbc.plan import Plan, SignalInfo
from carnet_agent.decode import exact_values, raw_values
from carnet_agent.decoded import Decoded
from carnet_agent.frames import EXTENDED

COLUMNS = ("timestamp", "bus", "id", "extended", "message", "signal", "raw", "value", "label", "unit")
FORMATS = ("csv", "jsonl", "parquet")


@dataclass(frozen=True, slots=True)
class Table:
    """Samples of one block in the order in which they are written; F frames, N samples."""

    timestamp: Sequence[str]
    """(F,) text as in the file."""
    bus: Sequence[str]
    can_id: Sequence[str]
    extended: Sequence[int]
    frame: Sequence[int]
    """(N,) index into the four columns above."""
    signal: Sequence[int]
    """(N,) index into ``Plan.signals``."""
    raw: Sequence[int | float]
    value: Sequence[int | float]
    label: Sequence[str]


def table(plan: Plan, block: Block, buses: Sequence[str], decoded: Decoded, left_out: NDArray[np.intp]) -> Table:
    """The rows of a decoded block, without the frames that are left out."""
    frames = block.frames
    raw: list[int | float] = []
    value: list[int | float] = []
    label: list[str] = []
    for signal, start, length in zip(
        decoded.run_signal.tolist(), decoded.run_start.tolist(), decoded.run_length.tolist(), strict=True
    ):
        info = plan.signals[signal]
        stretch = decoded.raw[start : start + length]
        numbers = raw_values(info, stretch)
        raw += numbers
        value += exact_values(info, stretch)
        label += [_label(info, number) for number in numbers] if info.labels else [""] * length
    signals = decoded.run_signal.repeat(decoded.run_length)
    frame = decoded.sample_frame
    order = np.lexsort((signals, frame))
    if len(left_out):
        order = order[~np.isin(frame.take(order), left_out)]
    places = order.tolist()
    extended = (frames.flags & EXTENDED).tolist()
    return Table(
        timestamp=[_timestamp(*stamp) for stamp in zip(frames.time_ns.tolist(), block.digits.tolist(), strict=True)],
        bus=[buses[number] for number in frames.bus.tolist()],
        can_id=[f"{i:08X}" if e else f"{i:03X}" for i, e in zip(frames.can_id.tolist(), extended, strict=True)],
        extended=extended,
        frame=frame.take(order).tolist(),
        signal=signals.take(order).tolist(),
        raw=[raw[place] for place in places],
        value=[value[place] for place in places],
        label=[label[place] for place in places],
    )


def _label(info: SignalInfo, raw: float) -> str:
    return info.labels.get(int(raw), "") if math.isfinite(raw) else ""


def _timestamp(time_ns: int, digits: int) -> str:
    seconds, fraction = divmod(abs(time_ns), 1_000_000_000)
    sign = "-" if time_ns < 0 else ""
    return f"{sign}{seconds}.{fraction:09d}"[: -(9 - digits) or None] if digits else f"{sign}{seconds}"


class Writer(Protocol):
    """Writes tables one after the other."""

    def write(self, rows: Table) -> None:
        """Append the table's rows."""

    def close(self) -> None:
        """Finish; the stream itself stays open."""


class CsvWriter:
    """RFC 4180 with a header; lines end with a line feed only."""

    def __init__(self, plan: Plan, stream: IO[bytes]) -> None:
        self._stream = stream
        self._names = [f"{_quoted(info.message)},{_quoted(info.name)}" for info in plan.signals]
        self._units = [_quoted(info.unit) for info in plan.signals]
        stream.write((",".join(COLUMNS) + "\n").encode())

    def write(self, rows: Table) -> None:
        """Append the table's rows."""
        heads = [
            f"{stamp},{_quoted(bus)},{can_id},{extended}"
            for stamp, bus, can_id, extended in zip(rows.timestamp, rows.bus, rows.can_id, rows.extended, strict=True)
        ]
        names, units = self._names, self._units
        lines = [
            f"{heads[frame]},{names[signal]},{raw!r},{value!r},{_quoted(label)},{units[signal]}\n"
            for frame, signal, raw, value, label in zip(
                rows.frame, rows.signal, rows.raw, rows.value, rows.label, strict=True
            )
        ]
        self._stream.write("".join(lines).encode())

    def close(self) -> None:
        """Nothing to finish."""


class JsonLinesWriter:
    """One JSON object a line; numbers as CSV has them, a number that JSON cannot hold (NaN, infinity) as null."""

    def __init__(self, plan: Plan, stream: IO[bytes]) -> None:
        self._stream = stream
        self._names = [f'"message": {_json(info.message)}, "signal": {_json(info.name)}' for info in plan.signals]
        self._units = [_json(info.unit) for info in plan.signals]

    def write(self, rows: Table) -> None:
        """Append the table's rows."""
        heads = [
            f'{{"timestamp": {stamp}, "bus": {_json(bus)}, "id": "{can_id}", "extended": {extended}'
            for stamp, bus, can_id, extended in zip(rows.timestamp, rows.bus, rows.can_id, rows.extended, strict=True)
        ]
        lines = [
            f'{heads[frame]}, {self._names[signal]}, "raw": {_json_number(raw)}, "value": {_json_number(value)}, '
            f'"label": {_json(label)}, "unit": {self._units[signal]}}}\n'
            for frame, signal, raw, value, label in zip(
                rows.frame, rows.signal, rows.raw, rows.value, rows.label, strict=True
            )
        ]
        self._stream.write("".join(lines).encode())

    def close(self) -> None:
        """Nothing to finish."""


class ParquetWriter:
    """Parquet with zstd; ``timestamp`` is an exact decimal, ``raw`` and ``value`` are 64-bit floats (exact to 2^53)."""

    def __init__(self, plan: Plan, stream: IO[bytes]) -> None:
        try:
            # An optional package of 170 MB.
            import pyarrow as pa  # type: ignore[import-untyped]
            import pyarrow.parquet as pq  # type: ignore[import-untyped]
        except ImportError:
            command = f"{sys.executable} -m pip install pyarrow"
            raise UnavailableError("pyarrow_missing", f"--format parquet needs pyarrow: {command}") from None
        self._plan = plan
        self._arrow: Any = pa
        text = pa.dictionary(pa.int32(), pa.string())
        kinds = {"timestamp": pa.decimal128(19, 9), "extended": pa.bool_()}
        kinds |= {"raw": pa.float64(), "value": pa.float64()}
        self._schema = pa.schema([(name, kinds.get(name, text)) for name in COLUMNS])
        self._file = pq.ParquetWriter(stream, self._schema, compression="zstd")

    def write(self, rows: Table) -> None:
        """Append the table's rows as one row group."""
        infos = self._plan.signals
        columns: dict[str, list[Any]] = {
            "timestamp": [rows.timestamp[frame] for frame in rows.frame],
            "bus": [rows.bus[frame] for frame in rows.frame],
            "id": [rows.can_id[frame] for frame in rows.frame],
            "extended": [bool(rows.extended[frame]) for frame in rows.frame],
            "message": [infos[signal].message for signal in rows.signal],
            "signal": [infos[signal].name for signal in rows.signal],
            "raw": [float(number) for number in rows.raw],
            "value": [float(number) for number in rows.value],
            "label": list(rows.label),
            "unit": [infos[signal].unit for signal in rows.signal],
        }
        arrow = self._arrow
        stamps = arrow.array(columns.pop("timestamp")).cast(arrow.decimal128(19, 9))
        arrays = [stamps, *(arrow.array(columns[name], self._schema.field(name).type) for name in COLUMNS[1:])]
        self._file.write_batch(arrow.record_batch(arrays, schema=self._schema))

    def close(self) -> None:
        """Write the footer."""
        self._file.close()


WRITERS: dict[str, Callable[[Plan, IO[bytes]], Writer]] = {
    "csv": CsvWriter,
    "jsonl": JsonLinesWriter,
    "parquet": ParquetWriter,
}


def _quoted(text: str) -> str:
    if any(character in text for character in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _json_number(number: float) -> str:
    return repr(number) if math.isfinite(number) else "null"
