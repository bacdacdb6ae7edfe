"""The moving picture: in any terminal both recipients, how precisely they get it, and what they are refused."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from carnet.narrowing import Block, BlockReason
from carnet_simulator.demo.frame import UP_TO, Row, _values, frame
from carnet_simulator.demo.live import Live
from carnet_simulator.demo.received import Latest, Received
from carnet_simulator.demo.scene import VIN_PATH, Party, simulated_car
from carnet_simulator.demo.words import how, shortened, value

SIZES = [(80, 24), (60, 20), (120, 40)]
ESCAPES = re.compile("\x1b\\[[0-9;]*[A-Za-z]")
MARK = "<that was all>"
LABEL = "a long word for a value"


def row(party: Party, refusals: dict[BlockReason, list[str]], state: str = "given") -> Row:
    """As the demonstration shows it once every granted item has been received."""
    received = Received(Path("none"))
    for number, item in enumerate(party.items()):
        if item["path"] == VIN_PATH:
            continue
        reading = LABEL if "DTC" in item["path"] else -1234.56789 + number
        received.latest[item["path"]] = Latest(reading, "degrees", item["transform"], 1)
        received.counts[item["path"]] = 1000 + number
    blocks = [Block("rec", path, reason) for reason, paths in refusals.items() for path in paths]
    return Row(party.name, party.offer["recipient_name"], received, blocks, state)


def rows() -> list[Row]:
    scene = simulated_car(1, "ten_aaaaaaaaaaaaaaaa", 1)
    shop, insurer = scene.parties
    rest = [signal.path for signal in scene.signals if signal.path != VIN_PATH]
    return [
        row(shop, {BlockReason.OFFER: rest, BlockReason.OWNER: [VIN_PATH]}),
        row(insurer, {BlockReason.OFFER: rest, BlockReason.CEILING: [VIN_PATH]}, "withdrawn"),
    ]


def seen(lines: list[str]) -> list[str]:
    """Without colours."""
    return [ESCAPES.sub("", line) for line in lines]


@pytest.mark.parametrize(("columns", "height"), SIZES)
def test_both_recipients_their_precision_and_refusals_fit_the_terminal(columns: int, height: int) -> None:
    """No line is longer, no frame higher; the line below it is the cursor's."""
    played = rows()
    lines = seen(frame(played, 12.3, "insurer silent for 12.3 s: 0 events since", columns, height - 1))
    assert len(lines) < height and max(map(len, lines)) <= columns
    text = "\n".join(lines)
    for shown in played:
        assert any(line.startswith(shown.name) and shown.state in line for line in lines)
        for latest in shown.received.latest.values():
            assert re.search(rf"  {re.escape(how(latest.transform))}$", text, re.MULTILINE), latest.transform
    assert text.count("refused") == 4
    assert "the ceiling set in the car" in text and "the owner said no" in text and "not asked for" in text


def test_a_large_terminal_shows_every_path_for_itself() -> None:
    """And a smaller one the four wheels in one line, from the least to the most, with all samples counted."""
    large = seen(frame(rows(), 1.0, "", 120, 40))
    assert sum("PadWear" in line for line in large) == 4
    (line,) = [line for line in seen(frame(rows(), 1.0, "", 80, 23)) if "PadWear" in line]
    assert "\u00d74" in line and "-1231" in line and "-1228" in line and "4022" in line


def test_wheels_under_different_transforms_are_no_one_line() -> None:
    played = rows()[:1]
    latest = played[0].received.latest
    path = next(each for each in latest if each.endswith("Row1.Wheel.Left.Brake.PadWear"))
    latest[path] = Latest(1, "percent", {"interval_ms": 60_000}, 1)
    lines = seen(frame(played, 1.0, "", 80, 14))
    assert [line.split("PadWear")[1].split()[0] for line in lines if "PadWear" in line] == ["1", "\u00d73"]


@pytest.mark.parametrize("height", range(2, 24))
@pytest.mark.parametrize("columns", [1, 20, 40, 80])
def test_what_does_not_fit_gives_way_fairly(columns: int, height: int) -> None:
    """However small: a frame, and each recipient as long as there are lines for all titles and refusals."""
    lines = seen(frame(rows(), 1.0, "note", columns, height))
    assert 0 < len(lines) <= height and max(map(len, lines)) <= columns
    if height >= 7 and columns >= 20:
        assert [sum(line.startswith(name) for line in lines) for name in ("repair shop", "insurer")] == [1, 1]


def test_what_gives_way_is_counted() -> None:
    lines = seen(frame(rows(), 1.0, "note", 80, 13))
    assert [line.split()[1] for line in lines if "more" in line] == ["4", "3"]


def test_a_line_that_was_cut_shows_it() -> None:
    (line,) = frame([], 1.0, "x" * 90, 40, 20)
    assert seen([line])[0].endswith("x…") and line.endswith("\x1b[0m")


def few() -> list[Row]:
    received = Received(Path("none"))
    received.latest["Vehicle.Speed"] = Latest(12.345678, "km/h", {}, 1)
    received.counts["Vehicle.Speed"] = 7
    return [Row("shop", "Oldtown", received, [Block("rec", "Vehicle.X", BlockReason.DRIVER)], "given")]


def test_the_picture_shows_value_count_and_reason() -> None:
    text = "\n".join(frame(few(), 1.0, "note", 80, 24))
    assert "12.3457 km/h" in text and " 7 " in text and "the driver's mode" in text and "note" in text


@pytest.mark.parametrize(
    ("path", "most", "shown"),
    [
        ("Vehicle.Speed", 44, "Speed"),
        ("Vehicle.Cabin.Door.Row1.Left.IsOpen", 20, "…Row1.Left.IsOpen"),
        ("Vehicle.Cabin.Door.Row1.Left.IsOpen", 17, "…Row1.Left.IsOpen"),
        ("Vehicle.Cabin.Door.Row1.Left.IsOpen", 16, "…Left.IsOpen"),
        ("Vehicle.Averylongwordwithoutadot", 10, "…thoutadot"),
        ("Vehicle.Private.can0.toyota_rav4.WHEEL_SPEEDS.FRONT_LEFT", 44, "WHEEL_SPEEDS.FRONT_LEFT"),
    ],
)
def test_a_path_is_cut_between_words_and_a_private_one_is_message_and_signal(path: str, most: int, shown: str) -> None:
    assert shortened(path, most) == shown
    assert len(shown) <= most


def test_a_share_is_told_by_its_sign() -> None:
    """Two numbers with the word did not fit its column, with room beside it."""
    assert value(55.5, "percent") == "55.5 %"
    latest = [Latest(each, "percent", {}, 1) for each in (28.5, 55.5)]
    assert _values(latest) == f"28.5{UP_TO}55.5 %"


def test_without_a_terminal_there_are_only_lines() -> None:
    stream = io.StringIO()
    live = Live(stream, plain=False)
    live.say("hello")
    live.show(few(), 1.0, 1000, "note")
    live.show(few(), 1.1, 1100, "note")
    assert stream.getvalue() == "hello\n   1.0 s  shop: 0 events, 7 samples\n"


class Screen:
    """What a terminal of this size shows: lines that are too long go on in the next one, the top scrolls away."""

    def __init__(self, columns: int, height: int) -> None:
        self.columns, self.height = columns, height
        self.lines = [""]
        self.at = 0

    def feed(self, text: str) -> None:
        for piece in re.findall("\x1b\\[[0-9;]*[A-Za-z]|\r?\n|[^\x1b\r\n]", text):
            if piece.endswith("\n") or (len(piece) == 1 and len(self.lines[self.at]) == self.columns):
                self.at += 1
                if self.at == len(self.lines):
                    self.lines.append("")
            if piece.endswith("A") and len(piece) > 1:
                top = max(0, len(self.lines) - self.height)
                self.at = max(top, self.at - int(piece[2:-1]))
            elif piece == "\x1b[J":
                self.lines = [*self.lines[: self.at], ""]
            elif len(piece) == 1 and piece != "\n":
                self.lines[self.at] += piece

    @property
    def shown(self) -> list[str]:
        return self.lines[-self.height :]


@contextmanager
def terminal(columns: int, height: int) -> Iterator[tuple[io.TextIOWrapper, int]]:
    """A stream into a terminal of this size, and where to read what it shows."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", height, columns, 0, 0))
    with os.fdopen(inner, "w", encoding="utf-8") as stream:
        yield stream, outer
    os.close(outer)


def written(stream: io.TextIOWrapper, outer: int) -> str:
    """All that the terminal has been sent: up to a mark that is sent behind it."""
    stream.write(MARK)
    stream.flush()
    found = b""
    while not found.endswith(MARK.encode()):
        found += os.read(outer, 65_536)
    return found.decode().removesuffix(MARK)


@pytest.mark.parametrize(("columns", "height"), SIZES)
def test_a_real_terminal_shows_the_last_frame_alone_with_what_was_said_above(columns: int, height: int) -> None:
    """Drawn three times with a sentence between: nothing of an older frame is left, both recipients are seen."""
    screen = Screen(columns, height)
    with terminal(columns, height) as (stream, outer):
        live = Live(stream, plain=False)
        live.say("hello")
        for number in range(3):
            live.show(rows(), float(number), 1000 * (number + 1), f"note {number}")
            live.say("said")
            screen.feed(written(stream, outer))
        live.show(rows(), 3.0, 9000, "note 3")
        screen.feed(written(stream, outer))
    whole = "\n".join(screen.lines)
    assert [whole.count(f"note {number}") for number in range(4)] == [0, 0, 0, 1]
    assert screen.lines[:4] == ["hello", "said", "said", "said"]
    text = "\n".join(screen.shown)
    assert "note 3" in text and "repair shop" in text and "insurer" in text and text.count("refused") == 4
