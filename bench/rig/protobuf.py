"""Two published protobuf schemas, written by hand: AWS IoT FleetWise's ``VehicleData`` and Tesla's ``Payload``.

The schemas: ``interfaces/protobuf/schemas/edgeToCloud/vehicle_data.proto`` of github.com/aws/aws-iot-fleetwise-edge at
dde67f9, ``protos/vehicle_data.proto`` of github.com/teslamotors/fleet-telemetry at fb3a0dd. Field numbers are theirs,
the code is ours; ``tests/test_rivals.py`` compares it with what protobuf's own library wrote.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

TESLA_PERIOD_MS = 500
"""A Tesla gathers the values of half a second in one payload, whose time they then share."""
_double = struct.Struct("<d").pack


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def zigzag(number: int) -> int:
    """A signed number as protobuf's ``sint64`` maps it."""
    return (number << 1) ^ (number >> 63)


def field(number: int, data: bytes) -> bytes:
    """A field of bytes, a string or a message."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def number_field(number: int, value: int) -> bytes:
    """An integer; proto3 leaves zero out."""
    return varint(number << 3) + varint(value) if value else b""


def fleetwise(
    campaign: bytes,
    decoder: bytes,
    event: int,
    event_ms: int,
    signals: Iterable[tuple[int, Sequence[int], list[float]]],
) -> bytes:
    """``VehicleData``; ``signals``: id, times in milliseconds, physical values."""
    out = [field(1, campaign), field(2, decoder), number_field(3, event), number_field(4, event_ms)]
    for signal, times, values in signals:
        # Of a CapturedSignal only the time's bytes and the value change.
        middle = number_field(2, signal) + b"\x19"
        for at, value in zip(times, values, strict=True):
            captured = number_field(1, zigzag(at - event_ms)) + middle + _double(value)
            out.append(b"\x2a" + varint(len(captured)) + captured)
    return b"".join(out)


def tesla(signals: Iterable[tuple[int, Sequence[int], list[float]]], *, text: bool) -> list[bytes]:
    """One ``Payload`` for each half second that has a value, as ``double_value`` or as ``string_value``."""
    periods: dict[int, list[bytes]] = {}
    for key, times, values in signals:
        name = number_field(1, key)
        for at, value in zip(times, values, strict=True):
            written = field(1, f"{value:.10g}".encode()) if text else b"\x29" + _double(value)
            periods.setdefault(at // TESLA_PERIOD_MS, []).append(field(1, name + field(2, written)))
    return [b"".join(data) + field(2, _timestamp(period * TESLA_PERIOD_MS)) for period, data in sorted(periods.items())]


def _timestamp(at_ms: int) -> bytes:
    """``google.protobuf.Timestamp``."""
    return number_field(1, at_ms // 1000) + number_field(2, at_ms % 1000 * 1_000_000)
