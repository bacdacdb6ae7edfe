"""What cantools makes of a capture, frame by frame: an independent second opinion on ``carnet-agent decode``.

It imports nothing of ours. It reads candump lines by itself and everything else with python-can, decodes one frame at a
time with cantools and writes the rows that our command ought to write. ``bug`` breaks it on purpose: a comparison that
still finds no difference compares nothing.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import can
import cantools
import cantools.j1939

Row = tuple[str, str, str, str, str, str, str, str, str, str]
Found = tuple[str, str, str, bool, bytes]
"""Time stamp, bus, identifier as hexadecimal text, extended, data."""
Transport = Callable[[Found], bytes | None]
"""The message that this frame completes, or None."""


def candump(path: Path) -> Iterator[Found]:
    """The data frames of a compressed candump log."""
    with gzip.open(path, "rt") as file:
        for line in file:
            stamp, bus, frame = line.split()[:3]
            identifier, data = frame.split("#", 1)
            yield stamp[1:-1], bus, identifier.upper(), len(identifier) > 3, bytes.fromhex(data)


def python_can(path: Path) -> Iterator[Found]:
    """The data frames of any other capture."""
    with can.LogReader(path) as reader:
        for message in reader:
            digits = 8 if message.is_extended_id else 3
            identifier = f"{message.arbitration_id:0{digits}X}"
            yield (
                repr(message.timestamp),
                f"can{message.channel}",
                identifier,
                message.is_extended_id,
                bytes(message.data),
            )


class Oracle:
    """Rows of a capture by cantools; ``dbc`` maps a bus to its database."""

    def __init__(self, dbc: dict[str, Path], match: str = "id", bug: str = "") -> None:
        self._messages: dict[tuple[str, int, bool], Any] = {}
        self._pgn = match == "pgn"
        self._bug = bug
        self._parts: dict[str, bytes] = {}
        for bus, path in dbc.items():
            database: Any = cantools.database.load_file(path, strict=False)
            for message in database.messages:
                key = self._key(message.frame_id, message.is_extended_frame)
                self._messages[bus, key, message.is_extended_frame] = message
        self.refused = 0

    def _key(self, can_id: int, extended: bool) -> int:
        if not (self._pgn and extended):
            return can_id
        j1939: Any = cantools.j1939
        parts = j1939.frame_id_unpack(can_id)
        specific = 0 if parts.pdu_format < 240 else parts.pdu_specific
        return int(j1939.pgn_pack(parts.reserved, parts.data_page, parts.pdu_format, specific))

    def rows(self, frames: Iterator[Found], transport: Transport | None = None) -> Iterator[Row]:
        """One row per signal and frame; ``transport`` turns a frame into the message that it completes."""
        for found in frames:
            stamp, bus, identifier, extended, data = found
            message = self._messages.get((bus, self._key(int(identifier, 16), extended), extended))
            if message is None:
                continue
            if transport:
                whole = transport(found)
                if whole is None:
                    continue
                data = whole
            try:
                value = message.decode(data, decode_choices=False, allow_truncated=True)
                raw = message.decode(data, decode_choices=False, scaling=False, allow_truncated=True)
            except cantools.database.DecodeError:
                self.refused += 1
                continue
            for signal in message.signals:
                if signal.name in value:
                    head = (stamp, bus, identifier, str(int(extended)), message.name)
                    yield self._row(head, signal, raw[signal.name], value[signal.name])

    def _row(self, head: tuple[str, str, str, str, str], signal: Any, raw: Any, value: Any) -> Row:
        label = str((signal.choices or {}).get(int(raw), ""))
        if self._bug == "sign" and signal.is_signed and raw < 0:
            raw += 1 << signal.length
        if self._bug == "scale" and isinstance(value, float):
            value = float(repr(value)[:-1] or 0)
        return (*head, signal.name, repr(raw), repr(value), label, signal.unit or "")


class NaiveIsoTp:
    """Reassembly as a reader of the standard writes it down in ten lines; listens to one reply identifier."""

    def __init__(self, identifier: str) -> None:
        self._identifier = identifier
        self._buffer = b""
        self._size = 0
        self.multi_frame = 0

    def __call__(self, found: Found) -> bytes | None:
        """The message as the database describes it, its length byte first."""
        _, _, identifier, _, data = found
        if identifier != self._identifier:
            return data
        kind = data[0] // 16
        if kind == 0:
            return data
        if kind == 1:
            self._size = (data[0] % 16) * 256 + data[1]
            self._buffer = data[2:]
            return None
        if kind == 2 and self._buffer:
            self._buffer += data[1:]
            if len(self._buffer) >= self._size:
                whole, self._buffer = self._buffer[: self._size], b""
                self.multi_frame += 1
                return bytes([self._size % 256]) + whole
        return None
