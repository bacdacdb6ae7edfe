"""The terminal: a picture that is drawn over itself, or plain lines where there is no terminal."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from carnet.narrowing import Block
from carnet_simulator.demo.picture import shortened
from carnet_simulator.demo.received import Received
from carnet_simulator.demo.words import how, refused, value

EVERY_MS: Final = 250
PLAIN_EVERY_MS: Final = 5000
BOLD, FAINT, RED, GREEN, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[0m"


@dataclass(slots=True)
class Row:
    """One recipient as it is shown. ``state``: given, withdrawn …; ``silent_s``: since the last event after its end."""

    name: str
    what: str
    received: Received
    blocks: Sequence[Block]
    state: str = "no consent yet"


class Live:
    """Draws at most four times a second; ``say`` lines stay above the picture."""

    def __init__(self, stream: TextIO, *, plain: bool) -> None:
        self._stream = stream
        self._plain = plain or not stream.isatty()
        self._height = 0
        self._next_ms = 0
        self._said: dict[str, int] = {}

    def say(self, text: str) -> None:
        """A line that stays."""
        self._wipe()
        print(text, file=self._stream, flush=True)

    def show(self, rows: Sequence[Row], elapsed_s: float, now_ms: int, note: str) -> None:
        """Draw again if it is time to."""
        if now_ms < self._next_ms:
            return
        self._next_ms = now_ms + (PLAIN_EVERY_MS if self._plain else EVERY_MS)
        if self._plain:
            for row in rows:
                self.say(f"{elapsed_s:6.1f} s  {row.name}: {_total(row)}")
            return
        size = shutil.get_terminal_size()
        lines = list(picture(rows, elapsed_s, note))[: size.lines - 1]
        self._wipe()
        self._stream.write("".join(_fit(line, size.columns) + "\n" for line in lines))
        self._stream.flush()
        self._height = len(lines)

    def end(self, rows: Sequence[Row], elapsed_s: float, note: str) -> None:
        """Leave the last picture standing."""
        self._next_ms = 0
        self.show(rows, elapsed_s, 1, note)
        self._height = 0

    def _wipe(self) -> None:
        if self._height:
            self._stream.write(f"\x1b[{self._height}A\x1b[J")
            self._height = 0


def picture(rows: Sequence[Row], elapsed_s: float, note: str) -> Iterable[str]:
    """The lines of the moving picture."""
    yield f"{BOLD}{elapsed_s:6.1f} s{PLAIN}  {note}"
    for row in rows:
        colour = GREEN if row.state == "given" else RED
        yield ""
        yield f"{BOLD}{row.name}{PLAIN} {FAINT}{row.what}{PLAIN}  {colour}{row.state}{PLAIN}  {_total(row)}"
        for path, latest in sorted(row.received.latest.items()):
            columns = f"{shortened(path):<46}{value(latest.value, latest.unit):>16}  {row.received.counts[path]:>6}"
            yield f"  {columns}  {FAINT}{how(latest.transform)}{PLAIN}"
        if row.blocks:
            yield f"  {FAINT}refused, told from the documents without reading a value:{PLAIN}"
            yield from (f"  {FAINT}{line}{PLAIN}" for line in refused(row.blocks))


def _total(row: Row) -> str:
    return f"{len(row.received.events)} events, {row.received.samples} samples"


def _fit(line: str, columns: int) -> str:
    """Cut to the terminal's width; escape sequences take no room."""
    out, wide, at = "", 0, 0
    while at < len(line) and wide < columns:
        if line[at] == "\x1b":
            end = line.index("m", at) + 1
            out += line[at:end]
            at = end
        else:
            out += line[at]
            wide += 1
            at += 1
    return out + PLAIN
