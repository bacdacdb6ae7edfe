"""Tells somebody at a terminal how far a drive or a replay is.

Law: nothing is written between the first and the last sentence unless a terminal is there to overwrite it.
"""

from __future__ import annotations

import time
from typing import Final, TextIO

_EVERY_S: Final = 0.5


class Progress:
    """One line that is written again and again, then a last one that stays."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._next_s = 0.0
        self.time_s = 0.0
        self.frames = 0
        self.off = 0
        """Frames of buses that are off."""

    def sent(self, *, is_off: bool) -> None:
        """A frame was handed to a bus, or to one that is off."""
        if is_off:
            self.off += 1
        else:
            self.frames += 1

    def at(self, time_s: float) -> None:
        """The frames' own clock has come to this time."""
        self.time_s = time_s
        if not self._terminal or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + _EVERY_S
        print(f"\r{time_s:10.1f} s {self.frames:12,} frames", end="", file=self._stream, flush=True)

    def end(self, ended: str) -> None:
        """Leave a sentence that says what was sent and why it ended."""
        off = f", {self.off:,} of buses that are off" if self.off else ""
        lead = "\r" if self._terminal else ""
        print(
            f"{lead}{ended} after {self.time_s:.1f} s: {self.frames:,} frames sent{off}",
            file=self._stream,
            flush=True,
        )
