"""Parse candump log lines (``candump -L``), a chunk at a time, without losing a digit of the time stamps.

``(1622547830.084000) can1 0CF00300#FFFE00FFFFFF00FF``; CAN FD has ``##`` and a hexadecimal digit of flags, a remote
frame ``#R``, an error frame the flag 0x20000000 in its identifier.

Law: every line is a frame, a counted kind of frame that is skipped, or refused with one reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carnet_agent.frames import BRS, CLASSIC_WIDTH, ESI, EXTENDED, FD, FD_WIDTH, Frames

ID_MASK = 0x1FFFFFFF
STANDARD_ID_MAX = 0x7FF
ERROR_FLAG = 0x20000000
TIME_S_MAX = 9_000_000_000
"""Seconds whose nanoseconds fit 64 bits."""
DIGITS_MAX = 9
# Data and remote frames; everything else is judged line by line to say what is wrong with it.
LINE = re.compile(
    rb"^[ \t]*\((\d{1,10})\.(\d{1,9})\)[ \t]+(\S+)[ \t]+([0-9A-Fa-f]{1,8})#(?:#([0-9A-Fa-f]))?"
    rb"((?:[0-9A-Fa-f]{2})*)(?:[ \t]+[RTrt])?[ \t]*\r?$",
    re.MULTILINE,
)
REMOTE = re.compile(rb"^\s*\(\d+\.\d+\)\s+\S+\s+[0-9A-Fa-f]{1,8}#[Rr]\d*(\s+[RTrt])?\s*$")
Refuse = Callable[[int, str], None]
"""Told the position of a line in the chunk and why it is refused or skipped."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """Frames of a chunk and how many fraction digits each time stamp has in the file."""

    frames: Frames
    digits: NDArray[np.uint8]


def parse(lines: Sequence[bytes], bus_number: Callable[[str], int], refuse: Refuse) -> Parsed:
    """The data frames in these lines, in order."""
    matches = LINE.findall(b"\n".join(lines))
    if len(matches) != len(lines) or any(_wrong(match) for match in matches):
        matches = []
        for position, line in enumerate(lines):
            if reason := _reason(line):
                refuse(position, reason)
            elif line.strip():
                matches += LINE.findall(line)
    return _columns(matches, bus_number)


def _wrong(match: tuple[bytes, ...]) -> str:
    """Why a line of the right form is no data frame, or nothing."""
    seconds, _, _, identifier, fd_flags, data = match
    if int(seconds) >= TIME_S_MAX:
        return "time_out_of_range"
    can_id = int(identifier, 16)
    if can_id & ERROR_FLAG and can_id > ID_MASK:
        return "error_frame"
    if can_id > (STANDARD_ID_MAX if len(identifier) <= 3 else ID_MASK):
        return "identifier_out_of_range"
    if len(data) > 2 * (FD_WIDTH if fd_flags else CLASSIC_WIDTH):
        return "data_too_long"
    return ""


def _reason(line: bytes) -> str:
    """Why this line is no data frame; nothing for a data frame and for an empty line."""
    found = LINE.match(line)
    if found:
        return _wrong(found.groups(default=b""))
    if not line.strip():
        return ""
    return "remote_frame" if REMOTE.match(line) else "malformed_line"


def _columns(matches: Sequence[tuple[bytes, ...]], bus_number: Callable[[str], int]) -> Parsed:
    if not matches:
        return Parsed(Frames.empty(), np.empty(0, np.uint8))
    seconds, fraction, bus, identifier, fd_flags, data = zip(*matches, strict=True)
    numbers = {name: bus_number(name.decode("utf-8", "replace")) for name in dict.fromkeys(bus)}
    lengths = np.fromiter(map(len, data), np.int64, len(data)) // 2
    width = CLASSIC_WIDTH if lengths.max() <= CLASSIC_WIDTH else FD_WIDTH
    payload = np.frombuffer(bytes.fromhex(b"".join([d.ljust(2 * width, b"0") for d in data]).decode()), np.uint8)
    flags = np.fromiter((_flags(i, f) for i, f in zip(identifier, fd_flags, strict=True)), np.uint8, len(data))
    nanoseconds = [int(s) * 1_000_000_000 + int(f.ljust(9, b"0")) for s, f in zip(seconds, fraction, strict=True)]
    frames = Frames(
        bus=np.fromiter((numbers[name] for name in bus), np.uint8, len(data)),
        can_id=np.fromiter((int(i, 16) for i in identifier), np.uint32, len(data)),
        flags=flags,
        length=lengths.astype(np.uint8),
        payload=payload.reshape(-1, width),
        time_ns=np.array(nanoseconds, np.int64),
    )
    return Parsed(frames, np.fromiter(map(len, fraction), np.uint8, len(data)))


def _flags(identifier: bytes, fd_flags: bytes) -> int:
    flags = EXTENDED if len(identifier) > 3 else 0
    if fd_flags:
        value = int(fd_flags, 16)
        flags |= FD | (BRS if value & 1 else 0) | (ESI if value & 2 else 0)
    return flags
