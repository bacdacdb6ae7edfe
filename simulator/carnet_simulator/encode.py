"""Physical values -> payload bytes of one DBC message, for many frames at once.

Law: what is packed here is unpacked by any reader of the same DBC to the same raw values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from cantools.database.can import Message
from cantools.database.can.signal import Signal
from numpy.typing import NDArray

from carnet.checksums import Checksum

PAYLOAD_BYTES: Final = 8
NOT_AVAILABLE: Final = "NOT_AVAILABLE"
"""Label of the raw value that says there is no reading."""
COUNTER: Final = "Counter"
CHECKSUM: Final = "Checksum"
"""Names of the protecting signals in our DBCs."""


@dataclass(frozen=True, slots=True)
class Field:
    """One signal: how its value becomes bits of the payload seen as a 64-bit integer."""

    name: str
    shift: int
    bits: int
    big_endian: bool
    is_float: bool
    factor: float
    offset: float
    raw_min: int
    raw_max: int
    not_available: int | None

    @classmethod
    def of(cls, signal: Signal) -> Field:
        """The field of a DBC signal; values are held between the DBC's minimum and maximum if it names them."""
        big_endian = signal.byte_order == "big_endian"
        # A big-endian start names the most significant bit; bytes count from the integer's top.
        top = signal.start // 8 * 8 + 7 - signal.start % 8
        shift = 64 - top - signal.length if big_endian else signal.start
        low = -(1 << (signal.length - 1)) if signal.is_signed else 0
        high = low + (1 << signal.length) - 1
        if signal.minimum is not None and signal.maximum is not None and signal.minimum < signal.maximum:
            low = max(low, round((float(signal.minimum) - float(signal.offset)) / float(signal.scale)))
            high = min(high, round((float(signal.maximum) - float(signal.offset)) / float(signal.scale)))
        codes = [int(raw) for raw, label in (signal.choices or {}).items() if str(label) == NOT_AVAILABLE]
        return cls(
            name=signal.name,
            shift=shift,
            bits=signal.length,
            big_endian=big_endian,
            is_float=signal.is_float,
            factor=float(signal.scale),
            offset=float(signal.offset),
            raw_min=low,
            raw_max=high,
            not_available=codes[0] if codes else None,
        )

    def raw(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Physical values as raw integers, a float signal as its bit pattern."""
        if self.is_float:
            return values.astype(np.float32).view(np.uint32).astype(np.int64)
        unscaled = np.rint((values - self.offset) / self.factor)
        return np.clip(unscaled, self.raw_min, self.raw_max).astype(np.int64)

    def place(self, raw: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(n,) raw values -> (n, 8) payload bytes with only this field's bits set."""
        word = (raw.astype(np.uint64) & np.uint64((1 << self.bits) - 1)) << np.uint64(self.shift)
        return word.astype(">u8" if self.big_endian else "<u8").view(np.uint8).reshape(-1, PAYLOAD_BYTES)


@dataclass(frozen=True, slots=True)
class Page:
    """One way through a message's multiplexers: constant selector bytes and the fields that are then present."""

    constant: NDArray[np.uint8]
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A message: frames take its pages in turn; a message without multiplexer has one page."""

    name: str
    can_id: int
    extended: bool
    length: int
    cycle_ms: int
    pages: tuple[Page, ...]
    counter: Field | None
    checksum: Checksum | None

    @property
    def signals(self) -> frozenset[str]:
        """Names of all signals whose values are needed."""
        return frozenset(field.name for page in self.pages for field in page.fields)

    @classmethod
    def of(cls, message: Message, checksum: Checksum) -> Layout:
        """The layout of a DBC message; ``checksum`` is used if it has a signal of that name."""
        fields = {signal.name: Field.of(signal) for signal in message.signals}
        selectors = {signal.name for signal in message.signals if signal.is_multiplexer}
        plain = {COUNTER, CHECKSUM} | selectors
        pages = [
            Page(
                constant=_constant(fields, choice),
                fields=tuple(fields[name] for name in names if name not in plain),
            )
            for choice, names in _pages(message.signal_tree)
        ]
        return cls(
            name=message.name,
            can_id=message.frame_id,
            extended=message.is_extended_frame,
            length=message.length,
            cycle_ms=message.cycle_time or 0,
            pages=tuple(pages),
            counter=fields.get(COUNTER),
            checksum=checksum if CHECKSUM in fields else None,
        )

    def encode(
        self,
        page: NDArray[np.int64],
        values: Mapping[str, NDArray[np.float64]],
        counter: NDArray[np.int64],
        not_available: NDArray[np.bool_],
    ) -> NDArray[np.uint8]:
        """(n, 8) payloads. Frame i has page ``page[i]``, values ``values[name][i]`` and counter ``counter[i]``; where
        ``not_available[i]``, signals that have a code for it carry that code.
        """
        payload = np.zeros((len(page), PAYLOAD_BYTES), np.uint8)
        for number, content in enumerate(self.pages):
            rows = np.flatnonzero(page == number)
            packed = np.repeat(content.constant[np.newaxis, :], len(rows), axis=0)
            for field in content.fields:
                raw = field.raw(values[field.name][rows])
                if field.not_available is not None:
                    raw = np.where(not_available[rows], field.not_available, raw)
                packed |= field.place(raw)
            payload[rows] = packed
        if self.counter is not None:
            payload |= self.counter.place(counter)
        if self.checksum is not None:
            ids = np.full(len(page), self.can_id, np.uint32)
            lengths = np.full(len(page), self.length, np.uint8)
            payload[:, self.length - 1] = self.checksum(ids, payload, lengths)
        return payload


def _constant(fields: Mapping[str, Field], choice: Mapping[str, int]) -> NDArray[np.uint8]:
    payload = np.zeros(PAYLOAD_BYTES, np.uint8)
    for name, value in choice.items():
        payload |= fields[name].place(np.array([value], np.int64))[0]
    return payload


def _pages(tree: Sequence[Any]) -> list[tuple[dict[str, int], list[str]]]:
    """Every way through a message's tree of multiplexers: selector values and the names of the signals then present."""
    always = [str(node) for node in tree if not isinstance(node, dict)]
    ways: list[tuple[dict[str, int], list[str]]] = [({}, always)]
    for node in tree:
        if not isinstance(node, dict):
            continue
        for selector, branches in node.items():
            ways = [
                ({**choice, selector: value, **inner}, names + more)
                for choice, names in ways
                for value, branch in branches.items()
                for inner, more in _pages(branch)
            ]
    return ways
