"""The terminal: a picture that is drawn over itself, or plain lines where there is no terminal."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Sequence
from typing import Final, TextIO

from carnet_simulator.demo.frame import Row, frame

EVERY_MS: Final = 250
PLAIN_EVERY_MS: Final = 5000


class Live:
    """Draws at most four times a second; ``say`` lines stay above the picture."""

    def __init__(self, stream: TextIO, *, plain: bool) -> None:
        self._stream = stream
        self._plain = plain or not stream.isatty()
        self._height = 0
        self._next_ms = 0

    def say(self, text: str) -> None:
        """A line that stays."""
        self._wipe()
        if not self._plain:
            text = textwrap.fill(text, self._size().columns, subsequent_indent="  ", break_long_words=False)
        print(text, file=self._stream, flush=True)

    def show(self, rows: Sequence[Row], elapsed_s: float, now_ms: int, note: str) -> None:
        """Draw again if it is time to."""
        if now_ms < self._next_ms:
            return
        self._next_ms = now_ms + (PLAIN_EVERY_MS if self._plain else EVERY_MS)
        if self._plain:
            for row in rows:
                self.say(f"{elapsed_s:6.1f} s  {row.name}: {row.total}")
            return
        size = self._size()
        # the cursor stands in the line below the picture
        lines = frame(rows, elapsed_s, note, size.columns, size.lines - 1)
        self._wipe()
        self._stream.write("".join(line + "\n" for line in lines))
        self._stream.flush()
        self._height = len(lines)

    def end(self, rows: Sequence[Row], elapsed_s: float, note: str) -> None:
        """Leave the last picture standing."""
        self._next_ms = 0
        self.show(rows, elapsed_s, 1, note)
        self._height = 0

    def _size(self) -> os.terminal_size:
        """Of the stream's own terminal; of a terminal that does not know its size, as is usual."""
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except OSError:
            size = os.terminal_size((0, 0))
        return size if size.columns and size.lines else shutil.get_terminal_size()

    def _wipe(self) -> None:
        if self._height:
            self._stream.write(f"\x1b[{self._height}A\x1b[J")
            self._height = 0
