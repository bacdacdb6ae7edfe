"""Looks into a capture before it is played: its buses, and which signals the given DBCs find in it.

The signals come from ``carnet-agent decode`` as a process, so every format, DBC and way of matching that the
agent knows works here too.
"""

from __future__ import annotations

import csv
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from carnet.errors import ConfigError, MappingError
from carnet_simulator.demo.catalogue import Bus, Name, mapped_dbc
from carnet_simulator.ourprograms import AGENT, command
from carnet_simulator.replay import read_capture

FRAMES_MAX: Final = 20_000
ROWS_MAX: Final = 100_000
LOOK_S: Final = 60.0
"""Of the capture's own time. By this machine's clock, what is offered would hang on how busy it is."""


def require_dbcs(dbcs: Sequence[str]) -> None:
    """ConfigError ``dbc_missing`` if one of these (``[BUS=]FILE``) is not there."""
    missing = [path for _, path in map(_split, dbcs) if not Path(path).is_file()]
    if missing:
        raise ConfigError("dbc_missing", f"there is no DBC file {missing[0]}")


def buses_of(file: Path, dbcs: Sequence[str], mappings: Sequence[Path], match: str) -> tuple[Bus, ...]:
    """The capture's buses, each with its DBCs (``[BUS=]FILE``; without BUS for all) and their mapping files."""
    seen = sorted({frame.bus for frame in islice(read_capture(file), FRAMES_MAX)})
    if not dbcs:
        raise ConfigError("dbc_missing", "a capture needs its DBC: --dbc [BUS=]FILE")
    found = []
    chosen = [(bus, Path(path)) for bus, path in map(_split, dbcs)]
    unknown = sorted({bus for bus, _ in chosen if bus and bus not in seen})
    if unknown:
        raise ConfigError("bus_unknown", f"the capture has no bus '{unknown[0]}'; it has {' and '.join(seen)}")
    for name in seen:
        own = tuple(path.absolute() for bus, path in chosen if bus in ("", name))
        maps = tuple(path.absolute() for path in mappings if mapped_dbc(path) in {each.stem for each in own})
        if own:
            found.append(Bus(name, own, maps, match))
    for path in mappings:
        if not any(path.absolute() in bus.mapping for bus in found):
            raise MappingError("mapping_unused", f"{path} is for another DBC than the ones given")
    return tuple(found)


def signals_in(file: Path, buses: Sequence[Bus]) -> list[Name]:
    """The signals that occur in the capture's first minute, the most frequent first; of a DBC that finds nothing in
    it, those of the first frame that it knows.
    """
    found: Counter[Name] = Counter()
    begin_s = next((frame.time_ns / 1e9 for frame in read_capture(file)), 0.0)
    for bus in buses:
        for dbc in bus.dbc:
            found.update(_decoded(file, bus, dbc, begin_s + LOOK_S))
    return [name for name, _ in found.most_common()]


def _decoded(file: Path, bus: Bus, dbc: Path, until_s: float) -> Iterator[Name]:
    words = command(AGENT, "decode", str(file), "--dbc", f"{bus.name}={dbc}", "--match", bus.match, "--format", "csv")
    last_s: float | None = None
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for row in islice(csv.DictReader(process.stdout), ROWS_MAX):
            time_s = float(row["timestamp"])
            last_s = max(until_s, time_s) if last_s is None else last_s
            if time_s > last_s:
                break
            yield Name(bus.name, dbc.stem, row["message"], row["signal"], row["unit"])
        process.kill()


def _split(text: str) -> tuple[str, str]:
    bus, equals, path = text.partition("=")
    return (bus, path) if equals else ("", text)
