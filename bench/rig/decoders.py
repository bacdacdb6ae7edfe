"""Decoders that are not ours, each ready to decode blocks of one capture: ``decoders()``.

What a decoder is handed is brought into its form before the clock starts: bytes objects, arrays, tuples. The values
that it gives are compared with ours on one block by `Decoder.values`, so that nobody is quick by decoding less.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cantools
import numpy as np
from numpy.typing import NDArray

from bench.rig.rivals import rival
from carnet_agent.frames import Frames

VALUES_PER_FRAME_MAX = 64


@dataclass(frozen=True, slots=True)
class Decoder:
    """``prepare`` makes of a block what ``decode`` takes; ``values`` are those of the last block, in any order.

    ``frames``: how many a turn has at least; ``all_of_them`` is false where a decoder drops what it does not believe.
    """

    name: str
    prepare: Callable[[Frames], Any]
    decode: Callable[[Any], object]
    values: Callable[[Any], NDArray[np.float64]]
    frames: int = 1000
    all_of_them: bool = True


def decoders(path: Path, scaling: bool, folder: Path) -> list[Decoder]:
    """Those that are here; ``scaling``: physical values, else raw ones; ``folder`` is for what is compiled."""
    found = [_cantools(path, scaling), _opendbc(path) if scaling else None, _asammdf(path, scaling)]
    return [each for each in (*found, _generated_c(path, scaling, folder)) if each is not None]


def _cantools(path: Path, scaling: bool) -> Decoder:
    database: Any = cantools.database.load_file(path, strict=False)
    message = database.decode_message

    def prepare(block: Frames) -> list[tuple[int, bytes]]:
        return list(zip(block.can_id.tolist(), map(bytes, block.payload), strict=True))

    def decode(frames: Sequence[tuple[int, bytes]]) -> None:
        for can_id, data in frames:
            message(can_id, data, decode_choices=False, scaling=scaling)

    def values(frames: Sequence[tuple[int, bytes]]) -> NDArray[np.float64]:
        each = [message(can_id, data, decode_choices=False, scaling=scaling) for can_id, data in frames]
        return np.array([value for one in each for value in one.values()], np.float64)

    return Decoder("cantools", prepare, decode, values)


def _opendbc(path: Path) -> Decoder | None:
    """openpilot's parser, which checks checksums and counters too, and knows physical values only."""
    module = rival("opendbc.can.parser")
    if module is None:
        return None
    module.carlog.setLevel("ERROR")  # it says once of each message that a checksum was wrong
    known = module.CANParser(str(path), [], 0).dbc.msgs
    parser = module.CANParser(str(path), [(can_id, 0) for can_id in known], 0)

    def prepare(block: Frames) -> list[tuple[int, list[tuple[int, bytes, int]]]]:
        ids, rows = block.can_id.tolist(), map(bytes, block.payload)
        return [(int(block.time_ns[-1]), [(can_id, row, 0) for can_id, row in zip(ids, rows, strict=True)])]

    def values(frames: Any) -> NDArray[np.float64]:
        parser.update(frames)
        seen = [parser.vl_all[can_id].values() for can_id in known]
        return np.array([value for signals in seen for each in signals for value in each], np.float64)

    return Decoder("opendbc", prepare, parser.update, values, all_of_them=False)


def _asammdf(path: Path, scaling: bool) -> Decoder | None:
    """What asammdf does with the frames of a log, without its files: group by message, extract each signal."""
    module, formats = rival("asammdf.blocks.bus_logging_utils"), rival("canmatrix.formats")
    if module is None or formats is None:
        return None
    messages = {frame.arbitration_id.id: frame for frame in formats.loadp_flat(str(path)).frames}

    def decode(block: tuple[Any, Any, Any]) -> list[Any]:
        ids, payload, times = block
        found = []
        for can_id in np.unique(ids).tolist():
            rows = np.flatnonzero(ids == can_id)
            message = messages[can_id]
            part = payload[rows, : message.size]
            found.append(module.extract_mux(part, message, can_id, 0, times[rows], raw=not scaling))
        return found

    def values(block: tuple[Any, Any, Any]) -> NDArray[np.float64]:
        groups = [group for extracted in decode(block) for group in extracted.values()]
        return np.concatenate([signal["samples"] for group in groups for signal in group.values()]).astype(np.float64)

    def prepare(block: Frames) -> tuple[Any, Any, Any]:
        return block.can_id.copy(), np.ascontiguousarray(block.payload), block.time_ns / 1e9

    return Decoder("asammdf", prepare, decode, values)


def _generated_c(path: Path, scaling: bool, folder: Path) -> Decoder | None:
    """cantools' generated C, with a loop around it that puts every value into one array: the limit."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        print("without generated C: there is no compiler")
        return None
    generate = [sys.executable, "-m", "cantools", "generate_c_source", "--no-strict", "--database-name", "car"]
    subprocess.run([*generate, "-o", folder, path], check=True, stdout=subprocess.DEVNULL)
    loop = folder / "loop.c"
    loop.write_text(_loop((folder / "car.h").read_text(), scaling))
    library = folder / f"loop-{scaling}.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, loop, folder / "car.c"], check=True)
    run = ctypes.CDLL(str(library)).decode

    def prepare(block: Frames) -> tuple[Any, ...]:
        """Arrays, and the pointers to them as they are passed."""
        ids, lengths = block.can_id.astype(np.uint32), block.length.astype(np.uint8)
        data = np.ascontiguousarray(block.payload[:, :8])
        out = np.empty(len(block) * VALUES_PER_FRAME_MAX, np.float64)
        arrays = (ids, data, lengths, out)
        *inputs, result = (ctypes.c_void_p(array.ctypes.data) for array in arrays)
        return (*inputs, ctypes.c_int(len(block)), result), arrays

    def decode(block: tuple[Any, ...]) -> int:
        return int(run(*block[0]))

    return Decoder("generated C", prepare, decode, lambda block: block[1][3][: decode(block)].copy(), frames=16_000)


def _loop(header: str, scaling: bool) -> str:
    """C that calls ``unpack`` of each message, and ``decode`` of each signal if physical values are wanted."""
    ids = dict(re.findall(r"#define CAR_(\w+)_FRAME_ID \((\w+)\)", header))
    cases = []
    for name, body in re.findall(r"^struct car_(\w+)_t \{(.*?)^\};", header, re.DOTALL | re.MULTILINE):
        fields = re.findall(r"^    (?:u?int\d+_t|double|float) (\w+);", body, re.MULTILINE)
        stores = " ".join(
            f"*o++ = car_{name}_{each}_decode(m.{each});" if scaling else f"*o++ = (double)m.{each};" for each in fields
        )
        unpack = f"struct car_{name}_t m; if (car_{name}_unpack(&m, data + 8 * i, length[i]) == 0) {{ {stores} }}"
        cases.append(f"case {ids[name.upper()]}: {{ {unpack} break; }}")
    return f"""#include "car.h"
int decode(const uint32_t *id, const uint8_t *data, const uint8_t *length, int n, double *out) {{
  double *o = out;
  for (int i = 0; i < n; i++) switch (id[i]) {{
    {chr(10).join(cases)}
  }}
  return (int)(o - out);
}}
"""
