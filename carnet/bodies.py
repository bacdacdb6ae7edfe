"""The bodies of gap, check-in, health, schema and destruction receipt: canonical JSON, parsed strictly.

Law: ``encode`` makes nothing that ``parse`` would refuse, and one value has one encoding.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from carnet import canonical, compression, fields, ids
from carnet.checked import checked
from carnet.errors import FormatError
from carnet.limits import BODY_BYTES_MAX
from carnet.note import DestructionReason

GAP_REASONS: Final = ("evicted", "ended", "corrupt", "refused", "rolled_back")
MODES: Final = ("normal", "no_location", "off", "guest")
RANGES_MAX: Final = 1024
SCHEMAS_MAX: Final = 64
COUNTERS_MAX: Final = 256
RECORDS_MAX: Final = 64

_COUNTER = re.compile(r"[a-z0-9_.]{1,64}", re.ASCII)
_DESTRUCTION = {reason.name.lower(): reason for reason in DestructionReason}


@dataclass(frozen=True, slots=True)
class GapRange:
    """Numbers ``first`` to ``last`` will never come; they held ``samples`` samples.
    ``reason`` is one of GAP_REASONS.
    """

    first: int
    last: int
    reason: str
    samples: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Body of type 2: ranges of one stream (8 bytes), ascending and disjoint."""

    stream: bytes
    ranges: tuple[GapRange, ...]

    def encode(self) -> bytes:
        """The bytes; LocalProtocolError for a gap that `parse` would refuse."""
        ranges = [[each.first, each.last, each.reason, each.samples] for each in self.ranges]
        return checked(canonical.encode({"ranges": ranges, "stream": self.stream.hex()}), Gap.parse)

    @staticmethod
    def parse(body: bytes) -> Gap:
        """The gap in ``body``; FormatError."""
        ranges, stream = fields.members(canonical.parse(body, BODY_BYTES_MAX), "ranges", "stream")
        parsed = tuple(_gap_range(each) for each in fields.items(ranges, 1, RANGES_MAX))
        if any(one.last >= other.first for one, other in itertools.pairwise(parsed)):
            raise FormatError("body_malformed", "the ranges of a gap are not ascending and disjoint")
        return Gap(fields.hex_bytes(stream, ids.STREAM_BYTES), parsed)


@dataclass(frozen=True, slots=True)
class CheckIn:
    """Body of type 3 with number 0: what the device has, so that the cloud can answer with what differs.

    ``head`` is the manifest hash of ``head_seq`` in the envelope's stream, ``previous_stream`` empty or the stream that
    this one replaced. Generation, epoch, log size, boot id and times stand in the prelude.
    """

    nonce: bytes
    head_seq: int
    head: bytes
    key_set: int
    schemas: tuple[bytes, ...] = ()
    mode: str = "normal"
    previous_stream: bytes = b""

    def encode(self) -> bytes:
        """The bytes; LocalProtocolError for a check-in that `parse` would refuse."""
        document = {
            "head": self.head.hex(),
            "head_seq": self.head_seq,
            "key_set": self.key_set,
            "mode": self.mode,
            "nonce": self.nonce.hex(),
            "previous_stream": self.previous_stream.hex(),
            "schemas": [each.hex() for each in self.schemas],
        }
        return checked(canonical.encode(document), CheckIn.parse)

    @staticmethod
    def parse(body: bytes) -> CheckIn:
        """The check-in in ``body``; FormatError."""
        names = ("head", "head_seq", "key_set", "mode", "nonce", "previous_stream", "schemas")
        document = canonical.parse(body, BODY_BYTES_MAX)
        head, head_seq, key_set, mode, nonce, previous, schemas = fields.members(document, *names)
        check_in = CheckIn(
            fields.hex_bytes(nonce, 16),
            fields.number(head_seq),
            fields.hex_bytes(head, 32),
            fields.number(key_set),
            fields.ascending(tuple(fields.hex_bytes(each, 16) for each in fields.items(schemas, 0, SCHEMAS_MAX))),
            fields.choice(mode, *MODES),
            b"" if previous == "" else fields.hex_bytes(previous, ids.STREAM_BYTES),
        )
        if not any(check_in.nonce) or (check_in.head_seq == 0) == any(check_in.head):
            raise FormatError(
                "body_malformed", "a check-in has an empty nonce, or a head without number or the reverse"
            )
        return check_in


@dataclass(frozen=True, slots=True)
class Health:
    """Body of type 3 with a number: counters by name."""

    counters: Mapping[str, int]

    def encode(self) -> bytes:
        """The bytes; LocalProtocolError for counters that `parse` would refuse."""
        return checked(canonical.encode({"counters": dict(self.counters)}), Health.parse)

    @staticmethod
    def parse(body: bytes) -> Health:
        """The counters in ``body``; FormatError."""
        (counters,) = fields.members(canonical.parse(body, BODY_BYTES_MAX), "counters")
        if not isinstance(counters, dict) or len(counters) > COUNTERS_MAX:
            raise FormatError("body_malformed", f"health is an object of at most {COUNTERS_MAX} counters")
        return Health({fields.text(name, _COUNTER): fields.number(value) for name, value in counters.items()})


@dataclass(frozen=True, slots=True)
class SchemaBody:
    """Body of type 5: the bytes of one schema, compressed on the wire. What they mean is the codec's business."""

    schema: bytes

    def encode(self) -> bytes:
        """The bytes of the body."""
        return compression.compress(self.schema)

    @staticmethod
    def parse(body: bytes) -> SchemaBody:
        """The schema's bytes; FormatError ``frame_malformed``, ``frame_too_large``, ``frame_trailing``."""
        return SchemaBody(compression.inflate(body))


@dataclass(frozen=True, slots=True)
class DestructionReceipt:
    """Body of type 6: boxes of these records (``rec_…``, ascending) are gone from the buffer's file.

    ``generation`` is the grant set that ended them; ``rows`` envelopes held the ``boxes`` with ``samples`` samples.
    """

    records: tuple[str, ...]
    generation: int
    reason: DestructionReason
    boxes: int
    rows: int
    samples: int

    def encode(self) -> bytes:
        """The bytes; LocalProtocolError for a receipt that `parse` would refuse."""
        document = {
            "boxes": self.boxes,
            "generation": self.generation,
            "reason": self.reason.name.lower(),
            "records": list(self.records),
            "rows": self.rows,
            "samples": self.samples,
        }
        return checked(canonical.encode(document), DestructionReceipt.parse)

    @staticmethod
    def parse(body: bytes) -> DestructionReceipt:
        """The receipt in ``body``; FormatError."""
        names = ("boxes", "generation", "reason", "records", "rows", "samples")
        document = canonical.parse(body, BODY_BYTES_MAX)
        boxes, generation, reason, records, rows, samples = fields.members(document, *names)
        texts = tuple(_record(each) for each in fields.items(records, 1, RECORDS_MAX))
        return DestructionReceipt(
            fields.ascending(texts),
            fields.number(generation),
            _DESTRUCTION[fields.choice(reason, *_DESTRUCTION)],
            fields.number(boxes),
            fields.number(rows),
            fields.number(samples),
        )


def _gap_range(value: object) -> GapRange:
    first, last, reason, samples = fields.items(value, 4, 4)
    start = fields.number(first, 1)
    return GapRange(start, fields.number(last, start), fields.choice(reason, *GAP_REASONS), fields.number(samples))


def _record(value: object) -> str:
    if not isinstance(value, str):
        raise FormatError("body_malformed", "a record id is not a text")
    ids.parse_id(value, ids.RECORD)
    return value
