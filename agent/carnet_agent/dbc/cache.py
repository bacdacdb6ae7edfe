"""Keep compiled plans on disk, so that a warm start neither parses a DBC nor imports its parser.

The file is the SHA-256 of the rest and, one after the other, arrays as numpy writes them; the first holds JSON. It is
no ``.npz``: reading an archive brings modules of 0.7 MB into a process that lives on.

Law: arrays and JSON only, never pickle; the file's name is the hash of everything that made the plan, and a file that
cannot be read back whole is as good as none.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import read_array, write_array

from carnet.errors import DbcError
from carnet_agent.dbc.database import Loss
from carnet_agent.dbc.plan import Branches, Match, Plan, Planes, Roots, Rows, SignalInfo, Transported

VERSION = 2
"""Raise it when the plan's tables or the parser's reading of a DBC change."""
SUFFIX = ".plan"
HASH_BYTES = 32
TABLES: dict[str, type[Rows | Planes | Roots | Branches]] = {
    "rows": Rows,
    "planes": Planes,
    "muxer_rows": Rows,
    "roots": Roots,
    "branches": Branches,
}


def cached_plan(
    folder: Path,
    files: Sequence[tuple[str, Path]],
    *,
    buses: Sequence[str] = (),
    match: Match = "id",
    extra: bytes = b"",
) -> tuple[Plan, tuple[Loss, ...]]:
    """The plan for these (bus, DBC file) pairs, from the folder if it is there, else compiled and put there.

    ``extra`` is whatever else decides about the plan (the mapping's hash). Raises DbcError for an unusable file.
    """
    contents = [(bus, path, _read(path)) for bus, path in files]
    key = plan_key([(bus, path.name, data) for bus, path, data in contents], buses, match, extra)
    if found := load(folder, key):
        return found
    # Only a miss may pay for the parser.
    from carnet_agent.dbc.compile import compile_plan
    from carnet_agent.dbc.parse import parse_dbc

    databases = [(bus, parse_dbc(data, path.name)) for bus, path, data in contents]
    plan, losses = compile_plan(databases, buses=buses, match=match)
    every_loss = tuple(loss for _, database in databases for loss in database.losses) + losses
    store(folder, key, plan, every_loss)
    return plan, every_loss


def plan_key(contents: Sequence[tuple[str, str, bytes]], buses: Sequence[str], match: Match, extra: bytes) -> str:
    """SHA-256 over everything that decides about the plan, as hexadecimal text."""
    parts = [[bus, name, hashlib.sha256(data).hexdigest()] for bus, name, data in contents]
    text = json.dumps([VERSION, match, list(buses), parts, extra.hex()])
    return hashlib.sha256(text.encode()).hexdigest()


def store(folder: Path, key: str, plan: Plan, losses: Sequence[Loss]) -> None:
    """Write the plan under its key; either the whole file appears or none."""
    arrays: dict[str, Any] = {}
    meta: dict[str, Any] = {"key": key, "losses": [astuple(loss) for loss in losses]}
    for field in fields(plan):
        value = getattr(plan, field.name)
        if field.name in TABLES:
            arrays |= {f"{field.name}.{part.name}": getattr(value, part.name) for part in fields(value)}
        elif isinstance(value, np.ndarray):
            arrays[field.name] = value
        elif field.name != "signals":
            meta[field.name] = value
    names = [field.name for field in fields(SignalInfo)]
    meta["signals"] = [
        [list(info.labels.items()) if name == "labels" else getattr(info, name) for name in names]
        for info in plan.signals
    ]
    meta["arrays"] = list(arrays)
    body = io.BytesIO()
    for array in (np.frombuffer(json.dumps(meta).encode(), np.uint8), *arrays.values()):
        write_array(body, array, allow_pickle=False)
    data = body.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{key}.{os.getpid()}.part"
    part.write_bytes(hashlib.sha256(data).digest() + data)
    part.replace(folder / f"{key}{SUFFIX}")


def load(folder: Path, key: str) -> tuple[Plan, tuple[Loss, ...]] | None:
    """The plan stored under this key, or None if there is none that can be read back whole."""
    try:
        stored = (folder / f"{key}{SUFFIX}").read_bytes()
    except OSError:
        return None
    if hashlib.sha256(stored[HASH_BYTES:]).digest() != stored[:HASH_BYTES]:
        return None
    try:
        body = io.BytesIO(stored[HASH_BYTES:])
        meta = json.loads(read_array(body, allow_pickle=False).tobytes())
        arrays = {name: read_array(body, allow_pickle=False) for name in meta["arrays"]}
        return _plan(meta, arrays, key)
    except (EOFError, ValueError, KeyError, TypeError):
        return None


def _plan(meta: dict[str, Any], arrays: dict[str, Any], key: str) -> tuple[Plan, tuple[Loss, ...]]:
    if meta["key"] != key:
        raise ValueError("stored under another key")
    values: dict[str, Any] = {}
    for field in fields(Plan):
        if field.name in TABLES:
            table = TABLES[field.name]
            values[field.name] = table(**{part.name: arrays[f"{field.name}.{part.name}"] for part in fields(table)})
        else:
            values[field.name] = arrays[field.name] if field.name in arrays else meta[field.name]
    values["buses"] = tuple(meta["buses"])
    values["transported"] = tuple(Transported(*item) for item in meta["transported"])
    names = [field.name for field in fields(SignalInfo)]
    labels = names.index("labels")
    for row in meta["signals"]:
        row[labels] = {int(raw): label for raw, label in row[labels]}
    values["signals"] = tuple(SignalInfo(*row) for row in meta["signals"])
    return Plan(**values), tuple(Loss(*loss) for loss in meta["losses"])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DbcError("dbc_unreadable", f"{path.name}: cannot be read: {error.strerror}") from error
