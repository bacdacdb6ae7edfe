"""A target: the law in the first line of its module, a check that raises where the law is broken, and seeds."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
FOUND: Final = FOLDER / "found"
CHECKOUT: Final = FOLDER.parents[1]
SIZE_MAX: Final = 4096
"""Bytes of an input, if a target says nothing else."""
MEMORY_BYTES_MAX: Final = 16 << 20
RUNS: Final = 3000
"""Inputs of a target in ``make test``, if it says nothing else."""


@dataclass(frozen=True, slots=True)
class Target:
    """``check`` takes any bytes and returns, or raises what nobody has promised."""

    name: str
    law: str
    check: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    size_max: int
    runs: int
    memory_bytes_max: int
    """More than an input may take besides what was there before."""

    def inputs(self) -> list[bytes]:
        """Seeds, then what was found before; none twice."""
        found = sorted(FOUND.glob(f"{self.name}-*"))
        return list(dict.fromkeys([*self.seeds(), *(path.read_bytes() for path in found)]))


def names() -> list[str]:
    """All targets."""
    return sorted(path.stem for path in (FOLDER / "targets").glob("[a-z]*.py"))


def instrumented(name: str) -> list[str]:
    """The packages whose branches lead the fuzzer: ours, and what a target names besides.

    Read and not imported, because they are instrumented while they are imported; every one more costs time.
    """
    text = FOLDER.joinpath(*_place(name).split(".")).with_suffix(".py").read_text()
    named = re.search(r"^INSTRUMENT = (.+)$", text, re.MULTILINE)
    return ["carnet", "carnet_agent", *(ast.literal_eval(named[1]) if named else ())]


def load(name: str) -> Target:
    """The target in ``targets/``; ``broken.`` before the name means the folder of those that break on purpose."""
    module = importlib.import_module(f"tests.fuzz.{_place(name)}")
    return Target(
        name=name,
        law=(module.__doc__ or "").partition("\n\n")[0].replace("\n", " "),
        check=module.check,
        seeds=module.seeds,
        size_max=getattr(module, "SIZE_MAX", SIZE_MAX),
        runs=getattr(module, "RUNS", RUNS),
        memory_bytes_max=getattr(module, "MEMORY_BYTES_MAX", MEMORY_BYTES_MAX),
    )


def _place(name: str) -> str:
    return name if "." in name else f"targets.{name}"
