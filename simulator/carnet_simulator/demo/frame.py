"""One frame of the moving picture: what leaves for whom, how precisely, and what is refused, in the room that there is.

Law: no line is longer than the terminal and no frame is higher; whatever has to give way, each recipient is seen, with
what it is refused and why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from carnet.narrowing import Block
from carnet_simulator.demo.received import Latest, Received
from carnet_simulator.demo.words import counted, how, refused, shortened, value

TIMES: Final = "\u00d7"
UP_TO: Final = "\u2013"
BOLD, FAINT, RED, GREEN, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[0m"
NAME_MAX: Final = 46
NAME_MIN: Final = 12
VALUE_MAX: Final = 16
NARROW: Final = 72
"""On fewer columns a value has to do with less."""
NARROW_VALUE_MAX: Final = 12
SIDES: Final = frozenset(("Left", "Right", "DriverSide", "PassengerSide", "Middle"))
"""Words of a path that tell instances apart, besides the numbers of rows."""


@dataclass(slots=True)
class Row:
    """One recipient as it is shown. ``state``: given, withdrawn …"""

    name: str
    what: str
    received: Received
    blocks: Sequence[Block]
    state: str = "no consent yet"

    @property
    def total(self) -> str:
        """What it has got."""
        return f"{counted(len(self.received.events), 'event')}, {counted(self.received.samples, 'sample')}"


@dataclass(frozen=True, slots=True)
class Line:
    """A path, or paths that are alike, in four cells."""

    name: str
    value: str
    count: str
    how: str


@dataclass(frozen=True, slots=True)
class Widths:
    """Of the four cells."""

    name: int
    value: int
    count: int


def frame(rows: Sequence[Row], elapsed_s: float, note: str, columns: int, height: int) -> list[str]:
    """At most ``height`` lines of at most ``columns`` characters: each path for itself, else like paths in one line,
    else the last of them only counted; with or without lines between the recipients.
    """
    whole, folded = [_lines(row) for row in rows], [_lines(row, fold=True) for row in rows]
    head = f"{BOLD}{elapsed_s:6.1f} s{PLAIN}  {note}"
    lines: list[str] = []
    ways = [(whole, True), (whole, False), (folded, True), (folded, False), (_cut(rows, folded, height - 1), False)]
    for tables, airy in ways:
        widths = _widths([line for table in tables for line in table], columns)
        panels = [_panel(row, table, widths) for row, table in zip(rows, tables, strict=True)]
        lines = [head, *(line for panel in panels for line in ([""] if airy else []) + panel)]
        if len(lines) <= height:
            break
    return [_fit(line, columns) for line in lines[:height]]


def _panel(row: Row, table: Sequence[Line], widths: Widths) -> list[str]:
    colour = GREEN if row.state == "given" else RED
    return [
        f"{BOLD}{row.name}{PLAIN} {FAINT}{row.what}{PLAIN}  {colour}{row.state}{PLAIN}  {row.total}",
        *(_written(line, widths) for line in table),
        *(f"  {FAINT}refused {line}{PLAIN}" for line in refused(row.blocks)),
    ]


def _lines(row: Row, *, fold: bool = False) -> list[Line]:
    """A line for each path; if ``fold``, one for all wheels, doors or seats that have the same reading."""
    found = sorted(row.received.latest.items())
    if not fold:
        return [_line([path], [latest], row.received) for path, latest in found]
    alike: dict[tuple[str, str], list[tuple[str, Latest]]] = {}
    for path, latest in found:
        alike.setdefault((_kind(path), how(latest.transform)), []).append((path, latest))
    return [_line([path for path, _ in group], [each for _, each in group], row.received) for group in alike.values()]


def _line(paths: Sequence[str], readings: Sequence[Latest], received: Received) -> Line:
    name = paths[0] if len(paths) == 1 else f"{_kind(paths[0])} {TIMES}{len(paths)}"
    count = sum(received.counts[path] for path in paths)
    return Line(name, _values(readings), f"{count}", how(readings[0].transform))


def _kind(path: str) -> str:
    """A path without the numbers and sides of its instances; what is not alike keeps its name."""
    parts = path.split(".")
    cut = [part for part in parts if not (part.startswith("Row") and part[3:].isdigit()) and part not in SIDES]
    return ".".join(cut) if len(cut) < len(parts) else path


def _values(readings: Sequence[Latest]) -> str:
    """One value, or from the least to the most."""
    numbers = [each.value for each in readings if isinstance(each.value, int | float)]
    if len(set(numbers)) > 1 and len(numbers) == len(readings):
        return value(f"{min(numbers):.4g}{UP_TO}{max(numbers):.4g}", readings[-1].unit)
    return value(readings[-1].value, readings[-1].unit)


def _cut(rows: Sequence[Row], tables: Sequence[list[Line]], height: int) -> list[list[Line]]:
    """The same tables in what titles and refusals leave of the height: shared fairly, the rest counted in a line."""
    room = height - sum(1 + len(refused(row.blocks)) for row in rows)
    shares = [0] * len(tables)
    while room > 0 and any(share < len(table) for share, table in zip(shares, tables, strict=True)):
        short = min((n for n, table in enumerate(tables) if shares[n] < len(table)), key=lambda n: shares[n])
        shares[short] += 1
        room -= 1
    return [_counted(table, share) for table, share in zip(tables, shares, strict=True)]


def _counted(table: list[Line], share: int) -> list[Line]:
    if share >= len(table) or not share:
        return table[:share]
    return [*table[: share - 1], Line(f"… {len(table) - share + 1} more", "", "", "")]


def _widths(lines: Sequence[Line], columns: int) -> Widths:
    """Transforms are never cut before names and values are: a figure that lost its end would be another figure."""

    def widest(cell: str) -> int:
        return max((len(getattr(line, cell)) for line in lines), default=0)

    wide = min(widest("value"), VALUE_MAX if columns >= NARROW else NARROW_VALUE_MAX)
    rest = columns - 6 - wide - widest("count") - widest("how")
    return Widths(max(NAME_MIN, min(NAME_MAX, rest)), wide, widest("count"))


def _written(line: Line, widths: Widths) -> str:
    name = shortened(line.name, widths.name)
    shown = line.value if len(line.value) <= widths.value else line.value[: widths.value - 1] + "…"
    cells = f"{name:<{widths.name}} {shown:>{widths.value}} {line.count:>{widths.count}}"
    return f"  {cells}  {FAINT}{line.how}{PLAIN}"


def _fit(line: str, columns: int) -> str:
    """Cut to the terminal's width, with a sign that it was; escape sequences take no room."""
    if sum(wide for _, wide in _pieces(line)) <= columns:
        return line + PLAIN
    out, room = "", columns - 1
    for piece, wide in _pieces(line):
        if wide > room:
            break
        out, room = out + piece, room - wide
    return f"{out}…{PLAIN}"


def _pieces(line: str) -> Iterator[tuple[str, int]]:
    """Characters, and escape sequences in one piece, each with its width."""
    at = 0
    while at < len(line):
        end = line.index("m", at) + 1 if line[at] == "\x1b" else at + 1
        yield line[at:end], int(line[at] != "\x1b")
        at = end
