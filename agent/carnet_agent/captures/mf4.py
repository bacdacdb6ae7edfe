"""Shell: MF4 captures, read by python-can and asammdf in a process of their own.

``python -m carnet_agent.captures.mf4 FILE`` writes a record for each message to standard output. Law: whatever a
damaged file does to asammdf (a segmentation fault, all the memory there is, a loop) it does to the child, and the child
ends.
"""

from __future__ import annotations

import resource
import select
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from carnet.errors import CaptureError
from carnet_agent.frames import FD_WIDTH

if TYPE_CHECKING:
    import can

MEMORY_BYTES_MAX: Final = 1 << 30
"""Of address space, for the child, besides what its imports take."""
SILENCE_S_MAX: Final = 120.0
READ_BYTES: Final = 64 << 10
REFUSED: Final = 1
"""Exit code of the child."""

_RECORD: Final = struct.Struct(f"<dIqBB{FD_WIDTH}s")
_NO_CHANNEL: Final = -1
_KINDS: Final = (
    "is_extended_id", "is_fd", "bitrate_switch", "error_state_indicator", "is_error_frame", "is_remote_frame",
)  # fmt: skip
"""What a message is, a bit each."""


def require(name: str) -> None:
    """CaptureError ``asammdf_missing`` unless the files' reader is there; ``name`` is the file's."""
    if find_spec("asammdf") is None:
        raise CaptureError("asammdf_missing", f"{name}: .mf4 needs asammdf: {sys.executable} -m pip install asammdf")


def messages(path: str) -> Iterator[can.Message]:
    """The messages of the file. ValueError where asammdf, which must be there, cannot go on."""
    command = [sys.executable, "-m", __name__, path]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    ) as child:
        assert child.stdout is not None
        try:
            yield from _records(child.stdout)
        except BaseException:
            # whoever stops reading, for whatever reason, needs no more of it
            child.kill()
            raise
    if child.returncode:
        raise ValueError("asammdf cannot read it" if child.returncode == REFUSED else "asammdf crashes on it")


def main(arguments: Sequence[str]) -> int:
    """Write the records."""
    import can

    _bound_memory()
    out = sys.stdout.buffer
    try:
        for message in can.MF4Reader(arguments[0]):
            out.write(_packed(message))
    except Exception:  # noqa: BLE001  asammdf raises what it likes
        return REFUSED
    finally:
        out.flush()
    return 0


def _records(stream: IO[bytes]) -> Iterator[can.Message]:
    rest = b""
    while select.select([stream], [], [], SILENCE_S_MAX)[0]:
        piece = stream.read(READ_BYTES)
        if not piece:
            return
        rest += piece
        whole = len(rest) // _RECORD.size * _RECORD.size
        for record in _RECORD.iter_unpack(rest[:whole]):
            yield _message(*record)
        rest = rest[whole:]
    raise ValueError("asammdf does not get on with it")


def _packed(message: can.Message) -> bytes:
    kinds = sum(bool(getattr(message, name)) << bit for bit, name in enumerate(_KINDS))
    channel = message.channel if isinstance(message.channel, int) else _NO_CHANNEL
    data = bytes(message.data[:FD_WIDTH])
    return _RECORD.pack(message.timestamp, message.arbitration_id & 0xFFFFFFFF, channel, kinds, len(data), data)


def _message(timestamp: float, can_id: int, channel: int, kinds: int, length: int, data: bytes) -> can.Message:
    from can import Message

    return Message(
        timestamp=timestamp,
        arbitration_id=can_id,
        channel=None if channel == _NO_CHANNEL else channel,
        data=data[:length],
        **{name: bool(kinds >> bit & 1) for bit, name in enumerate(_KINDS)},
    )


def _bound_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    bytes_max = pages * resource.getpagesize() + MEMORY_BYTES_MAX
    resource.setrlimit(resource.RLIMIT_AS, (bytes_max, bytes_max))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
