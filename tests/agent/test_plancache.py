"""The plan cache: a warm start reads back the same plan, and anything else is compiled again."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carnet.errors import DbcError
from carnet_agent.dbc import cache as plancache
from carnet_agent.dbc.plan import Plan
from tests.agent.blocks import CORNERS
from tests.conftest import shared_data


@pytest.fixture
def files(tmp_path: Path) -> list[tuple[str, Path]]:
    """One DBC for one bus."""
    path = tmp_path / "corners.dbc"
    path.write_text(CORNERS)
    return [("can0", path)]


def same(left: Any, right: Any) -> bool:
    """Equal, arrays and tables included."""
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    if isinstance(left, tuple):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    if is_dataclass(left):
        return all(same(getattr(left, field.name), getattr(right, field.name)) for field in fields(left))
    return bool(left == right and type(left) is type(right))


@pytest.mark.parametrize("name", ["OBD-v4.4.dbc", "Model3CAN.dbc", "tp_j1939.dbc", "cantools_no_signals.dbc"])
@pytest.mark.parametrize("match", ["id", "pgn", "isotp"])
def test_what_is_read_back_is_what_was_compiled(name: str, match: Any, tmp_path: Path) -> None:
    """Every table, type and signal, and the losses."""
    source = [("", shared_data() / "dbc" / name)]
    first = plancache.cached_plan(tmp_path, source, match=match)
    second = plancache.cached_plan(tmp_path, source, match=match)
    assert first is not second and same(first, second)


def test_a_warm_start_does_not_import_the_parser(files: list[tuple[str, Path]], tmp_path: Path) -> None:
    """Neither cantools nor python-can is loaded when the plan is there."""
    plancache.cached_plan(tmp_path, files)
    code = (
        "import sys; from pathlib import Path; from carnet_agent.dbc import cache; from carnet_agent import decode;"
        f"cache.cached_plan(Path({str(tmp_path)!r}), [('can0', Path({str(files[0][1])!r}))]);"
        "print([name for name in ('cantools', 'can', 'pydantic', 'zipfile') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "whole, but no plan", "other key"])
def test_a_damaged_file_is_compiled_again(damage: str, files: list[tuple[str, Path]], tmp_path: Path) -> None:
    """Whatever happened to it, the plan is right and the file is replaced."""
    fresh = plancache.cached_plan(tmp_path, files)
    (stored,) = tmp_path.glob("*.plan")
    data = bytearray(stored.read_bytes())
    middle = data.index(b"Parallel") + 3
    data[middle] ^= 0xFF
    damaged = {"cut": bytes(data[:middle]), "flip": bytes(data), "empty": b"", "text": b"no arrays"}
    damaged["whole, but no plan"] = hashlib.sha256(b"no arrays").digest() + b"no arrays"
    if damage == "other key":
        other = plancache.plan_key([], [], "id", b"")
        plancache.store(tmp_path, other, *fresh)
        (tmp_path / f"{other}.plan").replace(stored)
    else:
        stored.write_bytes(damaged[damage])
    assert plancache.load(tmp_path, stored.stem) is None
    assert same(plancache.cached_plan(tmp_path, files), fresh)
    assert plancache.load(tmp_path, stored.stem) is not None


def test_everything_that_decides_about_the_plan_is_in_its_key(files: list[tuple[str, Path]], tmp_path: Path) -> None:
    """Bus, match, mapping and content each give another file; the same again gives none."""
    bus, path = files[0]
    plancache.cached_plan(tmp_path, files)
    plancache.cached_plan(tmp_path, files)
    assert len(list(tmp_path.glob("*.plan"))) == 1
    plancache.cached_plan(tmp_path, [("can1", path)])
    plancache.cached_plan(tmp_path, files, match="pgn")
    plancache.cached_plan(tmp_path, files, buses=["can7", bus])
    plancache.cached_plan(tmp_path, files, extra=b"mapping")
    path.write_text(CORNERS + "\n")
    plancache.cached_plan(tmp_path, files)
    assert len(list(tmp_path.glob("*.plan"))) == 6 and not list(tmp_path.glob("*.part"))


def test_a_selected_plan_survives_too(files: list[tuple[str, Path]], tmp_path: Path) -> None:
    """Any plan can be stored."""
    plan: Plan = plancache.cached_plan(tmp_path, files)[0].select([0, 3])
    plancache.store(tmp_path, "k", plan, [])
    found = plancache.load(tmp_path, "k")
    assert found is not None and same(found[0], plan)


def test_f16_a_missing_database_is_refused(tmp_path: Path) -> None:
    """In one sentence."""
    with pytest.raises(DbcError, match=r"none\.dbc: cannot be read"):
        plancache.cached_plan(tmp_path, [("", tmp_path / "none.dbc")])
