"""The acknowledgement: which numbers of a stream the cloud holds durably, and what time it is there.

Law: it counts only for the stream it names; only one that echoes the nonce just sent may lower the watermark or tell
the time.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from typing import Final

from carnet.checked import checked
from carnet.errors import FormatError, LocalProtocolError
from carnet.limits import NUMBER_MAX

RANGES_MAX: Final = 64
NO_HASH: Final = bytes(32)
NO_NONCE: Final = bytes(16)

_FIXED = struct.Struct(">8sQ32s16sQQ32sB")
_RANGE = struct.Struct(">QQ")


@dataclass(frozen=True, slots=True)
class Ack:
    """Content of a down message of type 1. ``ranges`` are (first, last), ascending with a hole between two of them.

    ``head`` is the manifest hash of the number ``watermark``, zeros if there is none. Times in milliseconds since 1970.
    """

    stream: bytes
    watermark: int
    head: bytes
    server_ms: int
    nonce: bytes = NO_NONCE
    ranges: tuple[tuple[int, int], ...] = ()
    log_size: int = 0
    log_root: bytes = NO_HASH

    @property
    def known(self) -> int:
        """The highest number that it says the cloud has."""
        return max([self.watermark, *(last for _, last in self.ranges)])

    def covers(self, seq: int) -> bool:
        """Whether one of the ranges names ``seq``. The watermark alone frees nothing."""
        return any(first <= seq <= last for first, last in self.ranges)

    def answers(self, nonce: bytes) -> bool:
        """Whether it echoes this nonce of our last check-in."""
        return any(nonce) and hmac.compare_digest(self.nonce, nonce)

    def require_stream(self, stream: bytes) -> None:
        """FormatError ``ack_other_stream`` if it is not about this stream."""
        if self.stream != stream:
            raise FormatError("ack_other_stream", "the acknowledgement is about another stream")

    def encode(self) -> bytes:
        """The content; LocalProtocolError with the receiver's reason for one that `parse_ack` would refuse."""
        # struct would silently cut or fill a field of another length
        if tuple(map(len, (self.stream, self.head, self.nonce, self.log_root))) != (8, 32, 16, 32):
            raise LocalProtocolError("ack_numbers", "an id, hash or nonce in an acknowledgement has a wrong length")
        try:
            fixed = _FIXED.pack(
                self.stream,
                self.watermark,
                self.head,
                self.nonce,
                self.server_ms,
                self.log_size,
                self.log_root,
                len(self.ranges),
            )
            data = fixed + b"".join(_RANGE.pack(first, last) for first, last in self.ranges)
        except struct.error:
            raise LocalProtocolError("ack_numbers", "a number in an acknowledgement does not fit its field") from None
        return checked(data, parse_ack)


def parse_ack(data: bytes) -> Ack:
    """The acknowledgement in ``data``; FormatError ``ack_length``, ``ack_numbers`` or ``ack_ranges``."""
    if len(data) < _FIXED.size or len(data) != _FIXED.size + _RANGE.size * data[_FIXED.size - 1]:
        raise FormatError("ack_length", "an acknowledgement is truncated or has trailing bytes")
    stream, watermark, head, nonce, server_ms, log_size, log_root, count = _FIXED.unpack_from(data)
    if max(watermark, server_ms, log_size) > NUMBER_MAX or server_ms == 0:
        raise FormatError("ack_numbers", "a number in an acknowledgement is out of range")
    if (watermark == 0 and head != NO_HASH) or (log_size == 0) != (log_root == NO_HASH):
        raise FormatError("ack_numbers", "an acknowledgement has a hash without its number or the reverse")
    ranges = tuple(_RANGE.iter_unpack(data[_FIXED.size :]))
    before = -1
    for first, last in ranges:
        if not before + 1 < first <= last <= NUMBER_MAX:
            raise FormatError("ack_ranges", "the ranges are not ascending with a hole between them")
        before = last
    if count > RANGES_MAX:
        raise FormatError("ack_ranges", f"an acknowledgement has more than {RANGES_MAX} ranges")
    return Ack(stream, watermark, head, server_ms, nonce, ranges, log_size, log_root)
