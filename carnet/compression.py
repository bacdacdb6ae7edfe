"""One zstd frame for what is long and repeats itself: schemas and grant sets.

Law: inflating never takes more memory than the bound it is given, whatever the frame claims.
"""

from __future__ import annotations

from typing import Final

from backports import zstd

from carnet.errors import FormatError
from carnet.limits import INFLATED_BYTES_MAX

MAGIC: Final = b"\x28\xb5\x2f\xfd"
"""The first four bytes of every frame."""
_LEVEL: Final = 9
_WINDOW_LOG_MAX: Final = INFLATED_BYTES_MAX.bit_length()
_OPTIONS: Final = {int(zstd.DecompressionParameter.window_log_max): _WINDOW_LOG_MAX}


def compress(data: bytes) -> bytes:
    """``data`` as one zstd frame."""
    return zstd.compress(data, _LEVEL)


def inflate(data: bytes, size_max: int = INFLATED_BYTES_MAX) -> bytes:
    """The content of one zstd frame, at most ``size_max`` bytes.

    FormatError ``frame_malformed`` (no frame, truncated, damaged, or a window that is too large), ``frame_too_large``
    or ``frame_trailing``.
    """
    decompressor = zstd.ZstdDecompressor(options=_OPTIONS)
    try:
        content = decompressor.decompress(data, size_max + 1)
    except zstd.ZstdError:
        raise FormatError(
            "frame_malformed", "the compressed bytes are not a zstd frame of a permitted window"
        ) from None
    if len(content) > size_max:
        raise FormatError("frame_too_large", f"a compressed document inflates to more than {size_max} bytes")
    if not decompressor.eof:
        raise FormatError("frame_malformed", "the compressed bytes end before their frame does")
    if decompressor.unused_data:
        raise FormatError("frame_trailing", "bytes follow the compressed document")
    return content
