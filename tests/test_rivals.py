"""What our figures stand beside is what it says it is: rival formats are written as their own software writes them."""

from __future__ import annotations

import numpy as np
import pytest

from bench.rig import protobuf
from bench.rig.formats import Window, formats
from bench.rig.rivals import rival, say_missing
from carnet.batch import Batch
from carnet.schema import Column, Schema
from carnet.transforms import Transform

EVENT_MS = 1_760_000_060_000
FLEETWISE = (
    "0a0863616d706169676e12076465636f646572180720e0d4b6c19c332a0f08bfa90710011900000000000000002a0b100119000000000000f8bf"
    "2a0e08c80110011900000000001056402a0e080110ac02190000000065cdcd41"
)
TESLA = (
    "0a0d080412092900000000000000000a0e08c601120929000000000000f8bf12060880f09dc706",
    "0a0d08041209290000000000105640120c0880f09dc7061080cab5ee01",
)
TESLA_TEXT = (
    "0a07080412030a01300a0b08c60112060a042d312e3512060880f09dc706",
    "0a0b080412070a0538382e3235120c0880f09dc7061080cab5ee01",
)
"""Written by protobuf 7.36.2 for Python from the published schemas, for the readings below."""


def test_fleetwise_is_written_as_by_protobuf_itself() -> None:
    signals = [
        (1, [EVENT_MS - 60_000, EVENT_MS, EVENT_MS + 100], [0.0, -1.5, 88.25]),
        (300, [EVENT_MS - 1], [1e9]),
    ]
    assert protobuf.fleetwise(b"campaign", b"decoder", 7, EVENT_MS, signals).hex() == FLEETWISE


@pytest.mark.parametrize(("text", "expected"), [(False, TESLA), (True, TESLA_TEXT)], ids=["numbers", "strings"])
def test_tesla_is_written_as_by_protobuf_itself(text: bool, expected: tuple[str, ...]) -> None:
    start = EVENT_MS - 60_000
    signals = [(4, [start + 10, start + 999], [0.0, 88.25]), (198, [start + 499], [-1.5])]
    assert tuple(payload.hex() for payload in protobuf.tesla(signals, text=text)) == expected


def window() -> Window:
    """Three signals, two of them with the same times."""
    source = np.random.default_rng(1)
    times = tuple(1_760_000_000_000 + source.integers(900, 1100, n).cumsum() for n in (60, 45))
    columns = tuple(Column(f"Vehicle.S{n}", "km/h", "int", "0.5", "-3", Transform(), n // 2) for n in range(3))
    values = tuple(source.integers(-9, 10, n).cumsum() for n in (60, 60, 45))
    return Window(Batch(Schema(columns), times, values))


@pytest.mark.parametrize("name", [form.name for form in formats()])
def test_a_format_holds_every_reading(name: str) -> None:
    """Without a reader its size must at least hold the values, which snappy may fold."""
    form = next(form for form in formats() if form.name == name)
    readings = window()
    written = form.encode(readings)
    if form.decode is not None:
        assert form.decode(written) == readings.raw
    else:
        assert len(written) >= readings.batch.samples / 2
    assert form.encode(readings) == written


def test_fleetwise_is_given_physical_values() -> None:
    readings = window()
    assert readings.physical[2] == [0.5 * value - 3 for value in readings.raw[2][1]]


def test_a_missing_rival_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert rival("carnet_no_such_rival.part") is None
    say_missing()
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "carnet_no_such_rival," in said
    assert "make bench" in said
