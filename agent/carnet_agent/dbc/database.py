"""What a CAN database says, as immutable values: the form between the DBC parser and the compiled plan.

Law: nothing in here knows cantools; a message that exists is valid, and what was given up is named as a loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["int", "uint", "float16", "float32", "float64"]
Number = int | float

BITS_MAX = 64
"""A raw value is at most one 64-bit word."""
BYTES_MAX = 248
"""Bytes of a (reassembled) message that a signal may use; fits ``Frames.length`` and whole 64-bit words."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Something in the file that is not used; the rest is."""

    line: int
    """1-based line in the file, 0 when no line can be named."""
    name: str
    """The statement, message or ``message.signal`` that was given up."""
    reason: str

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.name}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal of a message."""

    name: str
    first_bit: int
    """Little endian: position of the least significant bit, counted from bit 0 of byte 0 upwards.
    Big endian: position of the most significant bit, counted from the top of byte 0 downwards."""
    bits: int
    big_endian: bool
    kind: Kind
    factor: Number
    offset: Number
    minimum: Number | None
    maximum: Number | None
    unit: str
    labels: tuple[tuple[int, str], ...]
    is_multiplexer: bool
    multiplexer: str | None
    """Name of the signal that decides whether this one is present; None: always present."""
    selectors: frozenset[int]
    """Values of ``multiplexer`` with which this signal is present."""

    @property
    def end_bit(self) -> int:
        """One past the last bit, counted in the direction of ``first_bit``."""
        return self.first_bit + self.bits

    @property
    def need(self) -> int:
        """Bytes a frame must have for this signal to be present."""
        return (self.end_bit + 7) // 8


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its identifier on the bus and its signals in the order of their first bits."""

    name: str
    can_id: int
    extended: bool
    length: int
    """Bytes as the file defines it; frames may be shorter or longer."""
    is_fd: bool
    signals: tuple[Signal, ...]


@dataclass(frozen=True, slots=True)
class Database:
    """All usable messages of one DBC file, and what could not be used."""

    name: str
    """File name without folder and suffix."""
    sha256: bytes
    messages: tuple[Message, ...]
    losses: tuple[Loss, ...]
