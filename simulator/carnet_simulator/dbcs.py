"""Finds and reads the simulated car's own DBCs.

Law: only files of this distribution are read; which ones is fixed here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cantools
from cantools.database.can import Database

from carnet.errors import DbcError

BUSES: Final = (("can0", "carnet_demo.dbc"), ("can1", "carnet_demo_body.dbc"))
"""(bus, DBC) of the simulated car; beside each DBC stands its mapping, ``.map.toml`` instead of ``.dbc``."""

_PLACES: Final = (Path(__file__).resolve().parents[2] / "dbc", Path(__file__).resolve().parent / "dbc")
"""In a checkout; in an installed package."""


def dbc_folder() -> Path:
    """The folder with our DBCs and mapping files; DbcError ``dbc_missing`` if it is not there."""
    for place in _PLACES:
        if (place / BUSES[0][1]).is_file():
            return place
    raise DbcError("dbc_missing", f"{BUSES[0][1]} is not where it was installed; install the simulator again")


def demo_databases() -> tuple[tuple[str, Database], ...]:
    """(bus, parsed DBC) for every bus of the simulated car."""
    folder = dbc_folder()
    found = []
    for bus, name in BUSES:
        database = cantools.database.load_file(folder / name)
        assert isinstance(database, Database)
        found.append((bus, database))
    return tuple(found)
