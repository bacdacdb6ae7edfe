"""Read a DBC file with cantools, salvaging message by message what it refuses.

Law: the only module that imports cantools; what is not used is named with line and reason, never dropped in silence.
"""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path
from typing import Any, cast

from cantools.database.can.formats import dbc as cantools_dbc

from carnet.errors import DbcError
from carnet_agent.dbc.database import BITS_MAX, BYTES_MAX, Database, Kind, Loss, Message, Signal
from carnet_agent.dbc.salvage import reason_of, salvage

SIZE_BYTES_MAX = 64 << 20
GZIP = b"\x1f\x8b"
SELECTORS_MAX = 1 << 18
"""Multiplexer values of a file, or of what is salvaged of it at a time, that stand in ranges."""
DIGITS_MAX = 20
SELECTORS = re.compile(r"SG_MUL_VAL_\s[^;\"]*")
RANGE = re.compile(r"(?<!\d)(\d++)\s*+-\s*+(\d++)")
FLOAT_KINDS: dict[int, Kind] = {16: "float16", 32: "float32", 64: "float64"}

# cantools logs attributes it does not know; that is no loss for decoding.
logging.getLogger("cantools").setLevel(logging.ERROR)


def load_dbc(path: Path) -> Database:
    """The database in this file; raises DbcError if there is no usable message in it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DbcError("dbc_unreadable", f"{path.name}: cannot be read: {error.strerror}") from error
    return parse_dbc(data, path.name)


def parse_dbc(data: bytes, file_name: str) -> Database:
    """The database in these bytes; ``file_name`` names it in errors. Raises DbcError if nothing is usable."""
    if len(data) > SIZE_BYTES_MAX:
        raise DbcError("dbc_too_large", f"{file_name}: larger than {SIZE_BYTES_MAX >> 20} MiB")
    text = decode_text(data)
    losses: list[Loss] = []
    try:
        parsed = _parse_text(text)
    except Exception as error:
        parsed, losses = salvage(text, _parse_text)
        if not parsed:
            if is_binary(data):
                raise DbcError("dbc_refused", f"{file_name}: is not text; a DBC is wanted") from error
            raise DbcError("dbc_refused", f"{file_name}: no usable message: {reason_of(error)}") from error
    lines = _line_numbers(text)
    messages = [_message(item, lines, losses) for item in parsed]
    name = file_name.removesuffix(".dbc").removesuffix(".DBC")
    usable = tuple(message for message in messages if message is not None)
    return Database(name, hashlib.sha256(data).digest(), usable, tuple(sorted(losses, key=lambda loss: loss.line)))


def is_binary(data: bytes) -> bool:
    """Whether this is no text at all, as a packed file."""
    return b"\0" in data or data.startswith(GZIP)


def decode_text(data: bytes) -> str:
    """The file's text: UTF-8 if it says so by a byte order mark, else Windows-1252 as the DBC format has it.

    Bytes that Windows-1252 leaves undefined become replacement characters: they only occur in comments and units.
    """
    if data.startswith(b"\xef\xbb\xbf"):
        return data[3:].decode("utf-8", "replace")
    return data.decode("cp1252", "replace")


def _parse_text(text: str) -> list[Any]:
    """The messages as cantools has them; ``strict=False`` because overlapping signals are common in the field."""
    _check_selectors(text)
    return list(cantools_dbc.load_string(text, strict=False).messages)


def _check_selectors(text: str) -> None:
    """ValueError for ranges of multiplexer values that cantools would write out one by one, all the memory there is."""
    values = 0
    for statement in SELECTORS.findall(text):
        for first, last in RANGE.findall(statement):
            # the length first: a number of thousands of digits is none that Python reads
            is_number = max(len(first), len(last)) <= DIGITS_MAX
            values += max(0, int(last) - int(first)) + 1 if is_number else SELECTORS_MAX
        if values >= SELECTORS_MAX:
            raise ValueError(f"ranges of more than {SELECTORS_MAX} multiplexer values")


def _line_numbers(text: str) -> dict[tuple[int, str], int]:
    """Line of each message ((identifier with flag, "")) and of each of its signals ((identifier, name))."""
    numbers: dict[tuple[int, str], int] = {}
    current = 0
    for number, line in enumerate(text.split("\n"), 1):
        if found := re.match(r"\s*BO_\s+(\d+)\s", line):
            # more digits than Python reads are no message's
            current = int(found[1]) if len(found[1]) <= DIGITS_MAX else -1
            numbers[current, ""] = number
        elif found := re.match(r"\s*SG_\s+(\w+)", line):
            numbers[current, found[1]] = number
    return numbers


def _message(item: Any, lines: dict[tuple[int, str], int], losses: list[Loss]) -> Message | None:
    """Our message out of cantools', or None with a loss."""
    key = item.frame_id | (0x80000000 if item.is_extended_frame else 0)
    line = lines.get((key, ""), 0)
    if item.frame_id > (0x1FFFFFFF if item.is_extended_frame else 0x7FF):
        losses.append(Loss(line, item.name, f"the identifier 0x{item.frame_id:X} is out of range"))
        return None
    signals = []
    for signal in item.signals:
        reason = _unusable(signal)
        if reason:
            losses.append(Loss(lines.get((key, signal.name), line), f"{item.name}.{signal.name}", reason))
        else:
            signals.append(_signal(signal))
    return Message(item.name, item.frame_id, item.is_extended_frame, item.length, item.is_fd, tuple(signals))


def _first_bit(signal: Any) -> int:
    if signal.byte_order == "little_endian":
        return int(signal.start)
    return int(8 * (signal.start // 8) + 7 - signal.start % 8)


def _unusable(signal: Any) -> str:
    """Why this signal cannot be decoded, or nothing."""
    if signal.length > BITS_MAX:
        return f"longer than {BITS_MAX} bits"
    if signal.conversion.is_float and signal.length not in FLOAT_KINDS:
        return f"a float of {signal.length} bits"
    if signal.start < 0 or _first_bit(signal) + signal.length > 8 * BYTES_MAX:
        return f"lies beyond byte {BYTES_MAX}"
    if signal.multiplexer_ids is not None and signal.multiplexer_signal is None:
        return "is multiplexed, but the message has no single multiplexer for it"
    return ""


def _signal(signal: Any) -> Signal:
    conversion = signal.conversion
    labels = tuple((int(raw), str(label)) for raw, label in (conversion.choices or {}).items())
    kind: Kind = "int" if signal.is_signed else "uint"
    if conversion.is_float:
        kind = FLOAT_KINDS[signal.length]
    return Signal(
        name=signal.name,
        first_bit=_first_bit(signal),
        bits=signal.length,
        big_endian=signal.byte_order == "big_endian",
        kind=kind,
        factor=conversion.scale,
        offset=conversion.offset,
        minimum=signal.minimum,
        maximum=signal.maximum,
        unit=signal.unit or "",
        labels=labels,
        is_multiplexer=signal.is_multiplexer,
        multiplexer=cast("str | None", signal.multiplexer_signal),
        selectors=frozenset(signal.multiplexer_ids or ()),
    )
