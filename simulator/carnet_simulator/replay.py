"""Reads captures for replay: every format that python-can reads, ``.gz`` too.

Law: only data frames come out, in the file's order; what cannot be read is one sentence, not a traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import can

from carnet.errors import CaptureError, ConfigError
from carnet_simulator.wire import pack_message


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """A frame of a capture."""

    bus: str
    """As the file names it; a number N is canN."""
    time_ns: int
    frame: bytes | None
    """As in `carnet_simulator.wire`; None for an error or remote frame."""


def read_capture(path: Path) -> Iterator[CapturedFrame]:
    """The frames of a capture.

    ConfigError ``capture_missing``; CaptureError ``capture_format`` or ``capture_broken``.
    """
    if not path.is_file():
        raise ConfigError("capture_missing", f"{path}: there is no such file")
    try:
        reader = can.LogReader(path)
    except NotImplementedError:
        command = f"{sys.executable} -m pip install asammdf"
        raise CaptureError("capture_format", f"{path}: .mf4 needs asammdf: {command}") from None
    except Exception as error:  # noqa: BLE001 -- every format's reader has its own way to say that this is not its file
        known = error if isinstance(error, ValueError | OSError) else type(error).__name__
        raise CaptureError("capture_format", f"{path}: python-can cannot read it: {known}") from None
    count = 0
    with reader:
        messages = iter(reader)
        while True:
            try:
                message = next(messages)
            except StopIteration:
                return
            except Exception as error:  # noqa: BLE001 -- readers raise whatever the bytes of a broken file lead them to
                kind = type(error).__name__
                raise CaptureError(
                    "capture_broken", f"{path}: broken after frame {count}, mend or cut it there: {kind}"
                ) from None
            count += 1
            data = not (message.is_error_frame or message.is_remote_frame)
            yield CapturedFrame(
                bus=_bus(message.channel),
                time_ns=round(message.timestamp * 1e9),
                frame=pack_message(message) if data else None,
            )


def _bus(channel: object) -> str:
    """The bus name of a python-can channel; a file without channels is can0."""
    if channel is None:
        return "can0"
    return f"can{channel}" if isinstance(channel, int) or str(channel).isdigit() else str(channel)
