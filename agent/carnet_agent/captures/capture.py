"""Read captures (candump, ASC, BLF, TRC, MF4, CSV, each also ``.gz``) as blocks of frames, streaming.

Law: bounded memory; what is broken is counted with file, line and reason, what is good survives; error and remote
frames are skipped and counted.
"""

from __future__ import annotations

import contextlib
import gzip
import logging
import os
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from carnet.errors import CaptureError, ConfigError
from carnet_agent.captures import candump, mf4
from carnet_agent.captures.blf import FlatBlf
from carnet_agent.captures.textlines import TextLines
from carnet_agent.frames import BRS, CLASSIC_WIDTH, ESI, EXTENDED, FD, FD_WIDTH, Frames

if TYPE_CHECKING:
    import can

FRAMES_MAX = 4096
CHUNK_BYTES = 128 << 10
LINE_BYTES_MAX = 4096
BUSES_MAX = 255
INFLATED_RATIO_MAX = 200
"""What a compressed MF4 may take on the disk for a while, in its own size: CAN data is never this dull."""
MF4_MAGIC = (b"MDF     ", b"UnFinMF ")
LOSSES_KEPT = 100
TEXT_SUFFIXES = frozenset((".asc", ".csv", ".trc"))
SUFFIXES = frozenset((".log", ".asc", ".blf", ".csv", ".mf4", ".trc"))
SKIPPED = frozenset(("error_frame", "remote_frame"))


@dataclass(frozen=True, slots=True)
class Block:
    """Up to FRAMES_MAX frames, ``time_ns`` being the file's own clock."""

    frames: Frames
    digits: NDArray[np.uint8]
    """(n,) digits behind the point of each time stamp as the file has it, so that it can be written the same way."""


@dataclass(frozen=True, slots=True)
class CaptureLoss:
    """A line or a part of the file that is not used."""

    file: str
    line: int
    """1-based; 0 in a binary file."""
    reason: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.reason.replace('_', ' ')}"


class Capture:
    """One capture file. Iterate ``blocks()`` once; ``buses``, ``counts`` and ``losses`` grow meanwhile."""

    def __init__(self, path: Path, buses: Iterable[str] = ()) -> None:
        """``buses`` are the names that get the numbers 0, 1, …; names met in the file are appended.

        Raises CaptureError if the kind of file is unknown or the file cannot be opened.
        """
        self.path = path
        self.buses: list[str] = list(buses)
        self.counts: Counter[str] = Counter()
        """Frames (``frames``), skipped and refused lines by reason."""
        self.losses: list[CaptureLoss] = []
        """The first LOSSES_KEPT refused lines; all are in ``counts``."""
        self._seen: set[int] = set()
        self._is_cut = False
        suffixes = [suffix.lower() for suffix in path.suffixes]
        self._gzipped = suffixes[-1:] == [".gz"]
        self.suffix = suffixes[-2] if self._gzipped and len(suffixes) > 1 else suffixes[-1] if suffixes else ""
        if self.suffix not in SUFFIXES:
            known = ", ".join(sorted(SUFFIXES))
            raise CaptureError("capture_kind_unknown", f"{path.name or path}: not one of {known} (with or without .gz)")
        try:
            self._raw: IO[bytes] = path.open("rb")
        except OSError as error:
            raise ConfigError("capture_unreadable", f"{path.name}: cannot be read: {error.strerror}") from error
        self.size_bytes = os.fstat(self._raw.fileno()).st_size

    @property
    def buses_seen(self) -> list[str]:
        """The buses of which at least one frame was read, in the order of their numbers."""
        return [name for number, name in enumerate(self.buses) if number in self._seen]

    def position_bytes(self) -> int:
        """Bytes of the file read so far."""
        return 0 if self._raw.closed else self._raw.tell()

    def blocks(self) -> Iterator[Block]:
        """The capture's data frames in their order."""
        try:
            if self.suffix == ".log":
                yield from self._candump_blocks()
            else:
                yield from self._python_can_blocks()
        finally:
            self.close()

    def close(self) -> None:
        """Let the file go; ``blocks()`` does so at its end."""
        self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def bus_number(self, name: str) -> int:
        """The number of this bus, a new one if it was not met before."""
        if name not in self.buses:
            if len(self.buses) >= BUSES_MAX:
                raise CaptureError("too_many_buses", f"{self.path.name}: more than {BUSES_MAX} bus names")
            self.buses.append(name)
        number = self.buses.index(name)
        self._seen.add(number)
        return number

    def _refuse(self, line: int, reason: str) -> None:
        self.counts[reason] += 1
        if reason not in SKIPPED and len(self.losses) < LOSSES_KEPT:
            self.losses.append(CaptureLoss(self.path.name, line, reason))

    def _stream(self) -> IO[bytes]:
        return cast("IO[bytes]", gzip.GzipFile(fileobj=self._raw)) if self._gzipped else self._raw

    def _chunks(self) -> Iterator[bytes]:
        """The file's bytes until its end, or until it turns out to be cut: what was read before that is good."""
        stream = self._stream()
        while True:
            try:
                chunk = stream.read(CHUNK_BYTES)
            except (EOFError, zlib.error, gzip.BadGzipFile, OSError):
                self._is_cut = True
                return
            if not chunk:
                return
            yield chunk

    def _lines(self) -> Iterator[tuple[int, list[bytes]]]:
        """(number of the first line, lines) until the end, or until the file turns out to be cut."""
        rest, number = b"", 1
        for chunk in self._chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            if lines:
                yield number, lines
                number += len(lines)
            if len(rest) > LINE_BYTES_MAX:
                # Not a text file: keep memory bounded, the pieces are refused one by one.
                yield number, [rest]
                rest = b""
        if self._is_cut:
            # the last line is not whole
            self._refuse(number, "compressed_data_cut")
        elif rest:
            yield number, [rest]

    def _candump_blocks(self) -> Iterator[Block]:
        for first, lines in self._lines():
            for start in range(0, len(lines), FRAMES_MAX):
                base = first + start
                parsed = candump.parse(
                    lines[start : start + FRAMES_MAX],
                    self.bus_number,
                    lambda position, reason, base=base: self._refuse(base + position, reason),  # type: ignore[misc]
                )
                if len(parsed.frames):
                    self.counts["frames"] += len(parsed.frames)
                    yield Block(parsed.frames, parsed.digits)

    def _python_can_blocks(self) -> Iterator[Block]:
        waiting: list[can.Message] = []
        for message in self._messages():
            if reason := _no_data_frame(message):
                self._refuse(0, reason)
                continue
            waiting.append(message)
            if len(waiting) == FRAMES_MAX:
                yield self._block(waiting)
                waiting = []
        if waiting:
            yield self._block(waiting)

    def _messages(self) -> Iterator[can.Message]:
        if self.suffix in TEXT_SUFFIXES:
            return self._text_messages(_reader_class(self.suffix))
        return self._binary_messages(self._mf4_messages() if self.suffix == ".mf4" else self._blf_messages())

    def _text_messages(self, reader_class: Callable[..., Any]) -> Iterator[can.Message]:
        """python-can's messages; a reader that fails is started again behind the line it failed on."""
        lines = TextLines((line for _, chunk in self._lines() for line in chunk), self._passed_over)
        while not lines.ended:
            seen = lines.number
            try:
                for message in reader_class(lines):
                    lines.pending = 0
                    yield message
            except Exception as error:
                # the readers convert what the line says, and every conversion fails in its own way
                lines.pending = 0
                self._refuse(lines.number, "malformed_line")
                if lines.number == seen:
                    raise CaptureError("capture_refused", f"{self.path.name}: {error}") from error
                lines.restart(self.suffix)
            else:
                if lines.number == seen:
                    # a reader that reads nothing would not do so the next time either
                    return

    def _passed_over(self, line: int) -> None:
        """A line that begins like a frame gave none: an event in ASC, where those are usual, else a broken line."""
        if self.suffix == ".asc":
            self.counts["events"] += 1
        else:
            self._refuse(line, "malformed_line")

    def _blf_messages(self) -> Iterator[can.Message]:
        yield from _reader_class(self.suffix)(FlatBlf(self._stream()))

    def _mf4_messages(self) -> Iterator[can.Message]:
        mf4.require(self.path.name)
        with self._mf4_path() as path:
            yield from mf4.messages(path)

    def _binary_messages(self, found: Iterator[can.Message]) -> Iterator[can.Message]:
        """The same messages, until the file turns out to be damaged."""
        got = 0
        try:
            for message in found:
                got += 1
                yield message
        except CaptureError:
            raise
        except Exception as error:
            if not got:
                sentence = f"{self.path.name}: is not a {self.suffix} file: {error}"
                raise CaptureError("capture_refused", sentence) from error
            self._refuse(0, "cut_or_damaged_after_the_frames_read")

    @contextlib.contextmanager
    def _mf4_path(self) -> Iterator[str]:
        """A file for a reader that jumps about in it: this one, or what it inflates to, on the disk for a while."""
        with tempfile.NamedTemporaryFile(suffix=self.suffix) as copy:
            path, head = str(self.path), b""
            if self._gzipped:
                path, bytes_max = copy.name, INFLATED_RATIO_MAX * self.size_bytes
                for chunk in self._chunks():
                    head += chunk[: len(MF4_MAGIC[0]) - len(head)]
                    if copy.tell() > bytes_max:
                        sentence = f"{self.path.name}: inflates to more than {INFLATED_RATIO_MAX} times its size"
                        raise CaptureError("capture_refused", sentence)
                    copy.write(chunk)
                copy.flush()
                if self._is_cut:
                    self._refuse(0, "compressed_data_cut")
            else:
                head = self._raw.read(len(MF4_MAGIC[0]))
            if head not in MF4_MAGIC:
                raise CaptureError("capture_refused", f"{self.path.name}: is not an .mf4 file")
            yield path

    def _block(self, messages: list[can.Message]) -> Block:
        count = len(messages)
        self.counts["frames"] += count
        width = CLASSIC_WIDTH if max(len(m.data) for m in messages) <= CLASSIC_WIDTH else FD_WIDTH
        payload = b"".join([bytes(m.data[:width]).ljust(width, b"\0") for m in messages])
        stamps = [nanoseconds(message.timestamp) for message in messages]
        frames = Frames(
            bus=np.fromiter((self.bus_number(bus_name(m.channel)) for m in messages), np.uint8, count),
            can_id=np.fromiter((m.arbitration_id for m in messages), np.uint32, count),
            flags=np.fromiter((_flags(message) for message in messages), np.uint8, count),
            length=np.fromiter((min(len(m.data), width) for m in messages), np.uint8, count),
            payload=np.frombuffer(payload, np.uint8).reshape(count, width),
            time_ns=np.fromiter((stamp for stamp, _ in stamps), np.int64, count),
        )
        return Block(frames, np.fromiter((digits for _, digits in stamps), np.uint8, count))


def _no_data_frame(message: can.Message) -> str:
    """Why this is no data frame, or nothing: a damaged file says what no frame can have."""
    if message.is_error_frame:
        return "error_frame"
    if message.is_remote_frame:
        return "remote_frame"
    if not 0 <= message.arbitration_id <= (candump.ID_MASK if message.is_extended_id else candump.STANDARD_ID_MAX):
        return "identifier_out_of_range"
    if len(message.data) > (FD_WIDTH if message.is_fd else CLASSIC_WIDTH):
        return "data_too_long"
    # no number compares with a NaN
    return "" if -candump.TIME_S_MAX < message.timestamp < candump.TIME_S_MAX else "time_out_of_range"


def bus_name(channel: Any) -> str:
    """The bus as the file names it; a number N becomes ``canN``, no channel becomes the empty name."""
    if channel is None:
        return ""
    text = str(channel)
    return f"can{text}" if text.isdigit() else text


def nanoseconds(seconds: float) -> tuple[int, int]:
    """A reader's float time stamp as nanoseconds, and the digits behind the point that write it back the same."""
    text = repr(float(seconds))
    before, _, behind = text.partition(".")
    if len(behind) <= candump.DIGITS_MAX and "e" not in text and not text.startswith("-"):
        return int(before) * 1_000_000_000 + int(behind.ljust(9, "0")), len(behind)
    whole = int(seconds // 1)
    # Split first: at 1e9 seconds a float times 1e9 is off by up to 128 ns.
    return whole * 1_000_000_000 + round((seconds - whole) * 1e9), candump.DIGITS_MAX


def _flags(message: can.Message) -> int:
    flags = EXTENDED if message.is_extended_id else 0
    if message.is_fd:
        flags |= FD | (BRS if message.bitrate_switch else 0) | (ESI if message.error_state_indicator else 0)
    return flags


def _reader_class(suffix: str) -> Callable[..., Any]:
    """python-can's reader for this suffix; imported here because it is slow and captures are rare."""
    import can

    # its warnings repeat lines that it cannot read, and these are content of the capture
    logging.getLogger("can").setLevel(logging.CRITICAL + 1)
    readers: dict[str, Callable[..., Any]] = {
        ".asc": can.ASCReader,
        ".blf": can.BLFReader,
        ".csv": can.CSVReader,
        ".trc": can.TRCReader,
    }
    return readers[suffix]
