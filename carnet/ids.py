"""Names of things: device, vehicle, record, offer, recipient, tenant; as bytes on the wire, as text everywhere else.

Law: one thing has one text. Whatever is not written exactly as we would write it is refused,
so that texts may be compared.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Final

from carnet.errors import FormatError, LocalProtocolError

DEVICE_BYTES: Final = 16
ID_BYTES: Final = 10
STREAM_BYTES: Final = 8

OFFER: Final = "off_"
RECORD: Final = "rec_"
RECIPIENT: Final = "rcp_"
TENANT: Final = "ten_"
PREFIXES: Final = (OFFER, RECORD, RECIPIENT, TENANT)

# 16 bytes are 128 bits in 26 characters of 5 bits: the last character has two spare bits, and they must be zero.
_DEVICE_TEXT = re.compile(r"[a-z2-7]{25}[aeimquy4]", re.ASCII)
_ID_TEXT = re.compile(r"[a-z2-7]{16}", re.ASCII)


def device_text(device: bytes) -> str:
    """The 26 lower-case base32 characters of a device's or vehicle's 16 bytes."""
    if len(device) != DEVICE_BYTES:
        raise LocalProtocolError("id_length", f"a device or vehicle id has {DEVICE_BYTES} bytes, not {len(device)}")
    return _base32(device)


def device_bytes(text: str) -> bytes:
    """The 16 bytes behind a device's or vehicle's text; FormatError ``id_malformed`` for any other text."""
    if _DEVICE_TEXT.fullmatch(text) is None:
        raise FormatError("id_malformed", "a device or vehicle id is 26 lower-case base32 characters")
    return base64.b32decode(text.upper() + "======")


def new_id(prefix: str, random: Callable[[int], bytes]) -> str:
    """A new id of this kind out of ten random bytes: ``random(n)`` returns n bytes, ``os.urandom`` in a shell."""
    return format_id(prefix, random(ID_BYTES))


def format_id(prefix: str, value: bytes) -> str:
    """The text of an offer, record, recipient or tenant: its prefix and 16 base32 characters."""
    if prefix not in PREFIXES or len(value) != ID_BYTES:
        raise LocalProtocolError("id_length", f"an id is one of {', '.join(PREFIXES)} and {ID_BYTES} bytes")
    return prefix + _base32(value)


def parse_id(text: str, prefix: str) -> bytes:
    """The ten bytes behind ``text``; FormatError ``id_malformed`` if it is not an id of this kind."""
    if not text.startswith(prefix) or _ID_TEXT.fullmatch(text, len(prefix)) is None:
        raise FormatError("id_malformed", f"an id of this kind is {prefix} and 16 lower-case base32 characters")
    return base64.b32decode(text[len(prefix) :].upper())


def _base32(value: bytes) -> str:
    return base64.b32encode(value).decode("ascii").rstrip("=").lower()
