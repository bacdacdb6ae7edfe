"""A text file for python-can's readers that can be started again behind a line on which one of them failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator


class TextLines:
    """A text file for python-can's readers that can be started again: its header, then the lines not yet read."""

    def __init__(self, lines: Iterator[bytes], passed_over: Callable[[int], None]) -> None:
        self._lines = lines
        self._passed_over = passed_over
        self._again: list[str] = []
        self._header: list[str] = []
        self._in_header = True
        self.number = 0
        """Lines read so far."""
        self.pending = 0
        """The last line, if it begins like a frame and no message has come of it yet; else 0."""
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._again:
            return self._again.pop(0)
        if self.pending:
            self._passed_over(self.pending)
            self.pending = 0
        try:
            line = next(self._lines).decode("utf-8", "replace") + "\n"
        except StopIteration:
            self.ended = True
            raise
        self.number += 1
        data = line.lstrip()[:1].isdigit()
        self._in_header = self._in_header and (self.number == 1 or not data)
        self.pending = self.number if data else 0
        if self._in_header and len(self._header) < 100:
            self._header.append(line)
        return line

    def read(self, _size: int = -1) -> str:
        """Only there because python-can looks whether it is a file."""
        raise OSError("lines only")

    def restart(self, suffix: str) -> None:
        """Give the header again before the next line; of a CSV file that is its first line."""
        self._again = self._header[:1] if suffix == ".csv" else list(self._header)

    def close(self) -> None:
        """The reader's end is not the file's end."""
