"""Reads captures for replay: every format that ``carnet-agent`` reads, ``.gz`` too.

Law: a capture is read by ``carnet-agent frames`` in a process of its own and nowhere in here, so that a damaged or
hostile file meets one reader, with its bounds on memory and time. Only data frames come out, in the file's order.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, TextIO, cast

import can

from carnet.errors import CaptureError, ConfigError
from carnet_simulator.ourprograms import AGENT, command
from carnet_simulator.wire import pack_message

SAID_BYTES_MAX: Final = 16 << 10
_PREFIX: Final = re.compile("carnet-agent( frames)?: ")


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """A data frame of a capture."""

    bus: str
    """As the file names it; a number N is canN."""
    time_ns: int
    frame: bytes
    """As in `carnet_simulator.wire`."""


def read_capture(path: Path, say: Callable[[str], None] | None = None) -> Iterator[CapturedFrame]:
    """The frames of a capture; ``say`` gets a sentence for each part of it that is not used.

    ConfigError ``capture_missing``; CaptureError ``capture_refused``, with the reader's own sentence.
    """
    if not path.is_file():
        raise ConfigError("capture_missing", f"{path}: there is no such file")
    with tempfile.TemporaryFile() as said:
        # a session of its own: Ctrl-C is for the replay, which then ends its reader
        with subprocess.Popen(
            command(AGENT, "frames", str(path)),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, text=True, start_new_session=True,
        ) as reader:  # fmt: skip
            assert reader.stdout is not None
            try:
                yield from _frames(reader.stdout)
            except BaseException:
                # whoever stops reading, for whatever reason, needs no more of it
                reader.kill()
                raise
        sentences = _sentences(said)
    if reader.returncode:
        raise CaptureError(
            "capture_refused", sentences[-1] if sentences else f"{path}: its reader ended with {reader.returncode}"
        )
    if say is not None:
        for sentence in sentences:
            say(sentence)


def _frames(stream: IO[str]) -> Iterator[CapturedFrame]:
    for message in can.CanutilsLogReader(cast("TextIO", stream)):
        yield CapturedFrame(_bus(message.channel), round(message.timestamp * 1e9), pack_message(message))


def _sentences(said: IO[bytes]) -> list[str]:
    said.seek(0)
    return [_PREFIX.sub("", line, 1) for line in said.read(SAID_BYTES_MAX).decode("utf-8", "replace").splitlines()]


def _bus(channel: object) -> str:
    """The bus name of a python-can channel; a number N is canN."""
    return f"can{channel}" if str(channel).isdigit() else str(channel)
