"""Breaks agent or cloud on purpose, for `tests.system.test_demo`: Python runs it first if its folder is on the path.

``CARNET_TEST_BREAK`` names what to break; only this file reads it. The product has no such switch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any


def lying_agent() -> None:
    """A unit that sends what was granted, but every reading of it and as precise as it comes."""
    from carnet import narrowing
    from carnet.transforms import Transform

    honest = narrowing.narrow

    def narrow(*arguments: Any) -> Any:
        found = honest(*arguments)
        return tuple(replace(one, item=replace(one.item, transform=Transform()), interval_ms_min=0) for one in found)

    narrowing.narrow = narrow  # type: ignore[assignment]


def no_gate() -> None:
    """A cloud that forwards whatever it is sent."""
    import numpy as np

    from carnet_cloud import gate

    gate.may_take = lambda standing, *_: None if standing is not None else gate.Blocked.OWNER
    gate.may_hold = lambda *_: None
    gate.may_send = lambda *_: None
    gate.captured_inside = lambda _, earliest, latest: np.ones(len(earliest), bool)  # type: ignore[assignment]
    gate.unsure = lambda _, begins, _ends: np.zeros(len(begins[0]), bool)  # type: ignore[assignment]


BREAKS: dict[str, tuple[str, Callable[[], None]]] = {
    "lying agent": ("carnet_agent", lying_agent),
    "no gate": ("carnet_cloud", no_gate),
}

for name in filter(None, os.environ.get("CARNET_TEST_BREAK", "").split(",")):
    module, do = BREAKS[name]
    if module in sys.orig_argv and "run" in sys.orig_argv:
        do()
