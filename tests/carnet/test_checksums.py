"""Checksums of whole blocks against a bit by bit calculation and a published check value."""

from __future__ import annotations

import random

import numpy as np

from carnet.checksums import crc8, toyota


def crc8_bit_by_bit(data: bytes) -> int:
    """CRC-8 SAE J1850 as the standard describes it, one bit at a time."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1D if crc & 0x80 else crc << 1) & 0xFF
    return crc ^ 0xFF


def test_the_reference_gives_the_published_check_value() -> None:
    """0x4B for the nine ASCII digits; the reference is worth nothing otherwise."""
    assert crc8_bit_by_bit(b"123456789") == 0x4B


def test_crc8_of_a_block_equals_the_calculation_bit_by_bit() -> None:
    """Frames of every length from 1 to 8, both kinds of identifier, bytes after the end ignored."""
    source = random.Random(1)
    length = np.array([1 + number % 8 for number in range(200)], np.uint8)
    can_id = np.array([source.getrandbits(29 if number % 2 else 11) for number in range(200)], np.uint32)
    payload = np.frombuffer(source.randbytes(1600), np.uint8).reshape(200, 8)
    expected = [
        crc8_bit_by_bit(int(can_id[row]).to_bytes(4, "big") + payload[row, : length[row] - 1].tobytes())
        for row in range(200)
    ]
    assert crc8(can_id, payload, length).tolist() == expected


def test_the_documented_example_holds() -> None:
    """docs/mapping.md shows this frame."""
    value = crc8(np.array([0x100], np.uint32), np.zeros((1, 8), np.uint8), np.array([8], np.uint8))
    assert value.tolist() == [0x87]


def test_toyota_adds_identifier_length_and_bytes() -> None:
    """Calculated by hand: 0x00 + 0xb4 + 8 + 1 + 2 = 0xbf; the last byte does not count."""
    payload = np.array([[1, 2, 0, 0, 0, 0, 0, 99]], np.uint8)
    assert toyota(np.array([0xB4], np.uint32), payload, np.array([8], np.uint8)).tolist() == [0xBF]
    assert toyota(np.array([0x1B4], np.uint32), payload, np.array([8], np.uint8)).tolist() == [0xC0]


def test_an_empty_block_has_no_checksums() -> None:
    """No frame, no result, no complaint."""
    nothing = (np.empty(0, np.uint32), np.empty((0, 8), np.uint8), np.empty(0, np.uint8))
    assert len(crc8(*nothing)) == len(toyota(*nothing)) == 0
